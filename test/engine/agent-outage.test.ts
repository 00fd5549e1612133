/**
 * An engine that goes away in the middle of things, by way of a proxy that cuts every connection
 * and takes no new ones; it is reached by tcp:// on loopback.
 */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ImagePin } from '../../protocol/image.ts'
import { limits } from '../../protocol/limits.ts'
import { type AgentBench, createAgentBench } from '../support/agent-bench.ts'
import { type EngineProxy, startEngineProxy } from '../support/engine-proxy.ts'
import { eventually } from '../support/eventually.ts'

/** Longer than the function takes before it writes. */
const PAUSE_MS = 2500

let proxy: EngineProxy
let bench: AgentBench
let ubuntu: ImagePin

beforeEach(async () => {
  proxy = await startEngineProxy(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  bench = await createAgentBench({ dockerHost: proxy.dockerHost })
  await bench.open()
  await bench.connect()
  ubuntu = await bench.pin('ubuntu')
})
afterEach(async () => {
  proxy.restore()
  await bench.close()
  await proxy.close()
})

const isUp = (): boolean => bench.premises().engine.isUp()

test('a call outlives the way to its engine, and is read back whole', async () => {
  const payload = Buffer.alloc(100_000, 'x')
  const key = bench.assign({ image: ubuntu, cmd: ['sh', '-c', 'sleep 1; cat'], payload })
  await bench.message('started', key)
  proxy.cut()
  bench.premises().engine.suspect()
  await eventually(() => !isUp())
  const refused = bench.assign({ image: ubuntu, cmd: ['true'] })
  assert.match((await bench.message('refused', refused)).message, /engine/)
  proxy.restore()
  const result = await bench.result(key)
  assert.equal(result.code, 'FINISHED', result.message)
  assert.ok(payload.equals(result.stdout))
  bench.acknowledge(key)
  await bench.quiet()
})

test('a megabyte in and a megabyte out of an agent that pauses: nothing is lost', async () => {
  const payload = randomBytes(limits.payloadBytesMax)
  const key = bench.assign({ image: ubuntu, cmd: ['sh', '-c', 'sleep 1; cat'], payload })
  await bench.message('started', key)
  proxy.stall()
  await sleep(PAUSE_MS)
  const early = bench.messages.some((message) => message.type === 'result')
  proxy.flow()
  assert.ok(!early, 'there is no result while nothing is read')
  const result = await bench.result(key)
  assert.equal(result.code, 'FINISHED', result.message)
  assert.ok(payload.equals(result.stdout))
  bench.acknowledge(key)
  await bench.quiet()
})

test('an engine that goes away before the start has started nothing', async () => {
  proxy.cut()
  // The agent has not noticed yet.
  const key = bench.assign({ image: ubuntu, cmd: ['true'] })
  const result = await bench.result(key)
  assert.deepEqual([result.code, result.started], ['START_FAILED', false])
  bench.acknowledge(key)
  await bench.quiet()
})

test('a cancel while the engine is away is done when it is back', async () => {
  const key = bench.assign({ image: ubuntu, cmd: ['sleep', '60'] })
  await bench.message('started', key)
  proxy.cut()
  bench.cancel(key)
  proxy.restore()
  await bench.message('gone', key)
  assert.deepEqual(await bench.containers(), [])
})

test('an engine that comes after the agent is tried, and then takes calls', async () => {
  await bench.abandon()
  proxy.cut()
  await bench.open()
  await bench.connect()
  const refused = bench.assign({ image: ubuntu, cmd: ['true'] })
  await bench.message('refused', refused)
  proxy.restore()
  const result = await eventually(async () => {
    const key = bench.assign({ image: ubuntu, cmd: ['true'] })
    const { call } = key
    const answer = await eventually(() =>
      bench.messages.find(
        (one) => (one.type === 'refused' || one.type === 'result') && one.key.call === call,
      ),
    )
    if (answer.type === 'refused') return undefined
    bench.acknowledge(key)
    return bench.result(key)
  }, 20_000)
  assert.equal(result.code, 'FINISHED')
  await bench.quiet()
})
