/** What hyper-init keeps from a function on a real engine, in the fences that let it bring a program. */

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import type { ImagePin } from '../../protocol/image.ts'
import type { Assignment } from '../../protocol/messages.ts'
import { type AgentBench, createAgentBench } from '../support/agent-bench.ts'
import { builtProgram } from '../support/init-builds.ts'

let bench: AgentBench
let ubuntu: ImagePin
let thief: Uint8Array

before(async () => {
  bench = await createAgentBench()
  await bench.open()
  await bench.connect()
  ubuntu = await bench.pin('ubuntu')
  thief = await readFile(await builtProgram('nonce-thief', ['-static', '-s']))
})
after(() => bench.close())

const script = 'cat >/tmp/thief; chmod 755 /tmp/thief; exec /tmp/thief /tmp/loot'
/** `strict` is more than the default, and has no place that a program could be run from. */
const fences: readonly Partial<Assignment>[] = [
  { profile: 'default' },
  { profile: 'default', user: '1000' },
  { profile: 'compat' },
  { profile: 'compat', user: '1000' },
]

for (const fence of fences) {
  const who = fence.user === undefined ? 'the image’s user' : `user ${fence.user}`
  test(`no door to hyper-init is open to ${who} in the profile ${fence.profile}`, async () => {
    const call = { image: ubuntu, cmd: ['sh', '-c', script], payload: thief, ...fence }
    const { code, stdout, stderr } = await bench.run(call)
    assert.deepEqual([code, Buffer.from(stderr).toString()], ['FINISHED', ''])
    const doors = Buffer.from(stdout).toString().trimEnd().split('\n')
    assert.equal(doors.at(-1), '0 open', doors.filter((door) => door.startsWith('open')).join())
    assert.ok(doors.length > 20)
  })
}
