/** What happens to attempts around their calls: refused, cancelled, handed back, side by side. */

import assert from 'node:assert/strict'
import { after, afterEach, beforeEach, test } from 'node:test'
import { openOutbox } from '../../agent/outbox.ts'
import { HyperError } from '../../protocol/errors.ts'
import type { ImagePin } from '../../protocol/image.ts'
import { type AgentBench, assignmentOf, createAgentBench } from '../support/agent-bench.ts'
import { connectDocker } from '../support/docker.ts'
import { eventually } from '../support/eventually.ts'

const MiB = 1024 * 1024
let bench: AgentBench
let ubuntu: ImagePin
const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')

beforeEach(async () => {
  bench = await createAgentBench({ slots: 2 })
  await bench.open()
  await bench.connect()
  ubuntu = await bench.pin('ubuntu')
})
afterEach(() => bench.close())
after(close)

const sleep = { cmd: ['sleep', '60'] }

test('a cancelled call is gone, and so is its container', async () => {
  const key = bench.assign({ image: ubuntu, ...sleep })
  await bench.message('started', key)
  bench.cancel(key)
  await bench.message('gone', key)
  assert.deepEqual(await bench.containers(), [])
  assert.ok(!bench.messages.some(({ type }) => type === 'result'))
})

test('a call that is cancelled while it is started is gone without a trace', async () => {
  const key = bench.assign({ image: ubuntu, ...sleep })
  bench.cancel(key)
  await bench.message('gone', key)
  assert.ok(!bench.messages.some(({ type }) => type === 'started'))
  await bench.quiet()
})

test('a cancel of what nobody knows is answered', async () => {
  const { key } = assignmentOf({ image: ubuntu })
  bench.cancel(key)
  await bench.message('gone', key)
})

test('without a slot, memory or a runtime a call is refused at once', async () => {
  const running = [1, 2].map(() => bench.assign({ image: ubuntu, ...sleep }))
  const third = bench.assign({ image: ubuntu, ...sleep })
  assert.equal((await bench.message('refused', third)).message, 'no room')
  for (const key of running) bench.cancel(key)
  await bench.quiet()
  const huge = bench.assign({ image: ubuntu, memoryBytes: 4096 * MiB })
  assert.equal((await bench.message('refused', huge)).message, 'no room')
  const odd = bench.assign({ image: ubuntu, runtime: 'none-such' })
  assert.match((await bench.message('refused', odd)).message, /none-such/)
})

test('a draining agent refuses, and takes calls again afterwards', async () => {
  bench.drain(true)
  const refused = bench.assign({ image: ubuntu, cmd: ['true'] })
  assert.match((await bench.message('refused', refused)).message, /draining/)
  bench.drain(false)
  assert.equal((await bench.run({ image: ubuntu, cmd: ['true'] })).code, 'FINISHED')
})

test('one assignment told twice runs once', async () => {
  const assignment = assignmentOf({ image: ubuntu, cmd: ['sleep', '0.5'] })
  const key = bench.assign(assignment)
  bench.assign(assignment)
  await bench.message('started', key)
  assert.equal((await bench.containers()).length, 1)
  assert.equal((await bench.result(key)).code, 'FINISHED')
  bench.acknowledge(key)
  await bench.quiet()
  assert.equal(bench.messages.filter(({ type }) => type === 'result').length, 1)
})

test('an agent that leaves stops what runs and hands it back as lost', async () => {
  const key = bench.assign({ image: ubuntu, ...sleep })
  await bench.message('started', key)
  bench.premises().attempts.leave()
  const result = await bench.result(key)
  assert.deepEqual([result.code, result.started], ['AGENT_LOST', true])
  bench.acknowledge(key)
  await bench.quiet()
  assert.deepEqual(await bench.containers(), [])
})

/** How soon an attempt counts as lost whose container was ended behind the agent's back. */
const LOST_MS = 5000

const fromOutside = {
  killed: (id: string) => docker.getContainer(id).kill(),
  removed: (id: string) => docker.getContainer(id).remove({ force: true, v: true }),
  stopped: (id: string) => docker.getContainer(id).stop(),
} as const

for (const [how, act] of Object.entries(fromOutside)) {
  test(`a container that is ${how} from outside is a lost attempt at once`, async () => {
    const key = bench.assign({ image: ubuntu, ...sleep, timeoutMs: 0 })
    await bench.message('started', key)
    const [id = ''] = await bench.containers()
    const actedAt = performance.now()
    await act(id)
    const result = await bench.result(key)
    assert.ok(performance.now() - actedAt < LOST_MS)
    assert.deepEqual([result.code, result.started], ['AGENT_LOST', true])
    bench.acknowledge(key)
    await bench.quiet()
  })
}

test('a call that ended is one line of the log', async () => {
  const lines: string[] = []
  const other = await createAgentBench({ onLog: (line) => lines.push(line) })
  try {
    await other.open()
    await other.connect()
    const cmd = ['sh', '-c', 'cat; exit 3']
    await other.run({ image: ubuntu, cmd, payload: Buffer.from('12345') })
  } finally {
    await other.close()
  }
  const ended = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'call ended')
  assert.equal(ended.length, 1)
  const { call, attempt, func, reason, exit, startMs, runMs, bytesIn, bytesOut } = ended[0]
  assert.match(call, /^[0-9a-f-]{36}$/)
  assert.deepEqual(
    { attempt, func, reason, exit, bytesIn, bytesOut },
    { attempt: 1, func: 'test', reason: 'CALL_EXITED', exit: 3, bytesIn: 5, bytesOut: 5 },
  )
  for (const ms of [startMs, runMs]) assert.equal(ms, Math.round(ms * 10) / 10)
})

test('results that were not acknowledged are told again at the next welcome', async () => {
  const key = bench.assign({ image: ubuntu, cmd: ['echo', 'once'] })
  await bench.result(key)
  const { attempts } = bench.premises()
  await attempts.until(() => attempts.isQuiet(), AbortSignal.timeout(10_000))
  attempts.disconnected()
  assert.deepEqual(attempts.hello().outbox, [key])
  await bench.connect([{ key, verdict: 'commit' }])
  await eventually(() => bench.messages.filter(({ type }) => type === 'result').length === 2)
  bench.acknowledge(key)
  await bench.quiet()
  assert.deepEqual(attempts.hello().outbox, [])
})

test('two agents on one engine touch only their own containers', async () => {
  const other = await createAgentBench()
  try {
    const mine = bench.assign({ image: ubuntu, ...sleep })
    await bench.message('started', mine)
    // Its start sweeps what is left of its own.
    await other.open()
    await other.connect()
    const result = await other.run({ image: ubuntu, cmd: ['echo', 'beside'] })
    assert.equal(result.code, 'FINISHED')
    assert.equal((await bench.containers()).length, 1)
    bench.cancel(mine)
    await bench.message('gone', mine)
  } finally {
    await other.close()
  }
})

test('a home belongs to one process', async () => {
  await assert.rejects(
    openOutbox(bench.home),
    (error) => error instanceof HyperError && error.code === 'STATE_IN_USE',
  )
})
