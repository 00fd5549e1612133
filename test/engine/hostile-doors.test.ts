/** A function that tries what it may not: every act is refused, under each profile. */

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import type { AttemptResult } from '../../protocol/call.ts'
import { PROFILES } from '../../protocol/func.ts'
import { runContainer } from '../support/docker.ts'
import { openEngineNetwork } from '../support/engine-network.ts'
import { type HostileBench, openHostileBench, runProgram, text } from '../support/hostile-bench.ts'
import { builtProgram } from '../support/init-builds.ts'

/** What the engine's own filter of system calls decides: older engines let them pass. */
const OF_ENGINE = ['io_uring', 'a socket to the hypervisor']
const NEIGHBOUR_SECONDS = 4

let hostile: HostileBench
let closeNetwork: () => Promise<void>
const programs = new Map<string, Buffer>()

before(async () => {
  for (const name of ['forbidden-acts', 'nonce-thief', 'neighbour']) {
    programs.set(name, await readFile(await builtProgram(name, ['-static', '-s'])))
  }
  const network = await openEngineNetwork(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  closeNetwork = network.close
  hostile = await openHostileBench({ firewall: network.firewall })
})
after(async () => {
  await hostile.close()
  await closeNetwork()
})

const programOf = (name: string): Buffer => programs.get(name) ?? Buffer.alloc(0)

const linesOf = (output: string, word: string): readonly string[] =>
  output
    .split('\n')
    .filter((line) => line.startsWith(`${word} `))
    .map((line) => line.slice(word.length + 1))

const finished = (result: AttemptResult): string => {
  assert.equal(result.code, 'FINISHED', result.message + text(result.stderr))
  return text(result.stdout)
}

test('a container without a fence, made by hand, finds many of these doors open', async () => {
  const { cmd } = runProgram(programOf('forbidden-acts'), 'default')
  const unfenced = {
    CapAdd: ['SYS_ADMIN'],
    SecurityOpt: ['seccomp=unconfined', 'apparmor=unconfined'],
    ...{ MaskedPaths: [], ReadonlyPaths: [] },
  }
  const { docker } = hostile.client
  const program = programOf('forbidden-acts')
  const { stdout } = await runContainer(docker, 'ubuntu', cmd ?? [], program, unfenced)
  assert.ok(linesOf(text(stdout), 'open').length >= 15, text(stdout))
})

for (const profile of PROFILES) {
  test(`nothing that is forbidden is open to a function of profile ${profile}`, async () => {
    const call = runProgram(programOf('forbidden-acts'), profile)
    const said = finished(await hostile.attack(call))
    assert.match(linesOf(said, 'place').join(), /^\/\.hyper-[0-9a-f]{16}$/)
    const open = linesOf(said, 'open').filter((act) => !OF_ENGINE.includes(act))
    assert.deepEqual(open, [])
    assert.ok(linesOf(said, 'shut').length >= 50, said)
  })

  test(`hyper-init keeps its secrets from a function of profile ${profile}`, async () => {
    const call = runProgram(programOf('nonce-thief'), profile, '/tmp/loot')
    const said = finished(await hostile.attack(call))
    assert.deepEqual(linesOf(said, 'open'), [])
    assert.ok(linesOf(said, 'shut').length >= 18, said)
  })
}

for (const profile of ['default', 'compat'] as const) {
  test(`neighbours of profile ${profile} hear nothing of each other below their ports`, async () => {
    const said = await Promise.all(
      ['alice', 'bob'].map(async (word) => {
        const args = `${word} ${NEIGHBOUR_SECONDS}`
        const call = runProgram(programOf('neighbour'), profile, args)
        const key = hostile.bench.assign({ ...call, image: hostile.image, network: 'bridge' })
        const result = await hostile.bench.result(key)
        hostile.bench.acknowledge(key)
        return finished(result)
      }),
    )
    await hostile.bench.quiet()
    assert.deepEqual(said, ['shut a packet socket\n', 'shut a packet socket\n'])
  })
}
