/** Containers that stand ready, on a real engine: each serves one call, and none is left. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { ImagePin } from '../../protocol/image.ts'
import type { Assignment } from '../../protocol/messages.ts'
import { type AgentBench, createAgentBench } from '../support/agent-bench.ts'
import { connectDocker } from '../support/docker.ts'
import { eventually } from '../support/eventually.ts'

let bench: AgentBench
let ubuntu: ImagePin
const lines: string[] = []
const { close: closeDocker } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')

before(async () => {
  bench = await createAgentBench({ ready: 8, onLog: (line) => lines.push(line) })
  await bench.open()
  await bench.connect()
  ubuntu = await bench.pin('ubuntu')
})
after(async () => {
  await bench.close()
  closeDocker()
})

const ready = (): number =>
  [...bench.premises().pool.ready().values()].reduce((sum, count) => sum + count, 0)

const untilReady = (count: number): Promise<unknown> =>
  eventually(
    () => ready() >= count,
    30_000,
    () => `${ready()} stand ready`,
  )

const hostname = (part: Partial<Assignment> = {}) =>
  bench.run({ image: ubuntu, cmd: ['cat', '/etc/hostname'], ...part })

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString().trim()

test('a function that was just created finds a container ready for its first call', async () => {
  bench.prepare({ image: ubuntu })
  await untilReady(1)
  const standing = await bench.containers()
  assert.equal(standing.length, 1)
  const result = await hostname()
  assert.equal(result.code, 'FINISHED')
  assert.equal(standing[0]?.slice(0, 12), text(result.stdout), 'it served the call')
  await eventually(async () => !(await bench.containers()).includes(standing[0] ?? ''), 30_000)
})

test('twenty calls run in twenty containers, whichever stood ready', async () => {
  const served: string[] = []
  for (let calls = 0; calls < 10; calls += 1) {
    const pair = await Promise.all([hostname(), hostname()])
    served.push(...pair.map(({ stdout }) => text(stdout)))
  }
  assert.equal(new Set(served).size, 20)
})

test('environment and arguments come with the call, and are not seen in those that wait', async () => {
  await untilReady(1)
  const secret = 'SECRET=xyzzy-1'
  const result = await bench.run({
    image: ubuntu,
    cmd: ['sh', '-c', 'echo "$SECRET"'],
    environment: [secret],
  })
  assert.equal(text(result.stdout), 'xyzzy-1')
  await untilReady(1)
  for (const id of await bench.containers()) {
    const told = await bench.outside.tellsOf(id)
    assert.ok(told.includes('seccomp') || told.includes('HostConfig'), 'it is told of')
    assert.ok(!told.includes('xyzzy'))
  }
})

test('functions of another user, size, network or profile get containers of their own', async () => {
  await untilReady(1)
  const others: readonly Partial<Assignment>[] = [
    { user: 'ubuntu' },
    { workingDir: '/tmp' },
    { memoryBytes: 32 * 1024 * 1024 },
    { profile: 'strict' },
  ]
  for (const part of others) {
    const result = await bench.run({
      image: ubuntu,
      cmd: ['sh', '-c', 'id -u; pwd; cat /sys/fs/cgroup/memory/memory.limit_in_bytes; touch /x'],
      ...part,
    })
    const [uid, folder, bytes] = text(result.stdout).split('\n')
    if (part.user !== undefined) assert.equal(uid, '1000')
    if (part.workingDir !== undefined) assert.equal(folder, '/tmp')
    if (part.memoryBytes !== undefined) assert.equal(bytes, `${part.memoryBytes}`)
    if (part.profile !== undefined) assert.notEqual(result.exitCode, 0, 'its root is read-only')
  }
})

test('one that somebody removed is noticed, and no call is lost with it', async () => {
  await untilReady(1)
  const standing = new Set(await bench.containers())
  // The agent removes those that served a call by itself, maybe first.
  for (const id of standing) {
    await bench.outside.remove(id).catch(() => undefined)
  }
  await eventually(async () => {
    const now = await bench.containers()
    return now.every((id) => !standing.has(id))
  }, 30_000)
  assert.equal((await hostname()).code, 'FINISHED')
})

test('a kind whose containers do not start is named in the log and leaves the others alone', async () => {
  const broken = { image: ubuntu, user: 'nobody-of-this-name' }
  const result = await bench.run({ ...broken, cmd: ['true'] })
  assert.equal(result.code, 'USER_NOT_FOUND')
  await eventually(() => lines.some((line) => line.includes('no container made ready')), 30_000)
  assert.equal((await hostname()).code, 'FINISHED')
})

test('a sweep takes none that stands ready', async () => {
  await untilReady(2)
  const said = lines.length
  bench.premises().attempts.sweep()
  await hostname()
  await hostname()
  const swept = lines.slice(said).filter((line) => line.includes('containers of the past'))
  assert.deepEqual(swept, [])
})

test('after the agent has closed none is left', async () => {
  await untilReady(1)
  await bench.abandon()
  assert.deepEqual(await bench.containers(), [])
})
