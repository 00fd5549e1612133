/** Pulls that are ordered, given up, shared and too many; on both ends of the order. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { pino } from 'pino'
import { startEngine } from '../../agent/engine.ts'
import { createFlights } from '../../agent/flights.ts'
import { createImages } from '../../agent/images.ts'
import { createPullOrders } from '../../agent/pull-orders.ts'
import { createPulls } from '../../coordinator/pulls.ts'
import type { ImageRecord } from '../../protocol/image.ts'
import { limits } from '../../protocol/limits.ts'
import type { AgentMessage, PullOrder } from '../../protocol/messages.ts'
import { eventually } from '../support/eventually.ts'
import { startFakeEngine } from '../support/fake-engine.ts'
import { IMAGE } from '../support/fake-ports.ts'

const order = (pull: number): PullOrder => ({
  ...{ type: 'pull', session: 1, epoch: 1, pull, reference: 'ubuntu', auth: '' },
})

/** Pulls that never end by themselves. */
const createBench = () => {
  const running = new Set<AbortSignal>()
  const sent: AgentMessage[] = []
  const orders = createPullOrders({
    images: {
      pull: (_reference, _auth, _onProgress, signal) =>
        new Promise<ImageRecord>((_resolve, reject) => {
          running.add(signal)
          signal.addEventListener('abort', () => {
            running.delete(signal)
            reject(new Error('socket hang up'))
          })
        }),
    },
    send: async (message) => {
      sent.push(message)
    },
    onEnd: () => undefined,
    log: pino({ level: 'silent' }),
  })
  const endOf = (pull: number) =>
    sent.find((message) => message.type === 'pull-end' && message.pull === pull)
  return { orders, running, sent, endOf }
}

test('a pull that is given up ends, and the others go on', async () => {
  const { orders, running, endOf } = createBench()
  for (const pull of [1, 2]) orders.start(order(pull))
  orders.cancel(1)
  await turn()
  const end = endOf(1)
  assert.ok(end?.type === 'pull-end')
  assert.deepEqual(
    [end.record, end.code, end.message],
    [...[null, 'PULL_FAILED', 'the pull was given up']],
  )
  assert.deepEqual([running.size, endOf(2)], [1, undefined])
  orders.cancel(99)
  await orders.close()
  assert.equal(running.size, 0)
  assert.ok(endOf(2))
})

const unused = (): never => assert.fail('not asked for here')

test('more pulls than an agent keeps waiting are answered at once', async () => {
  const { orders, running, endOf } = createBench()
  for (let pull = 1; pull <= limits.pullOrdersMax + 1; pull++) orders.start(order(pull))
  await turn()
  assert.equal(running.size, limits.pullOrdersMax)
  const end = endOf(limits.pullOrdersMax + 1)
  assert.ok(end?.type === 'pull-end' && end.code === 'PULL_FAILED')
  await orders.close()
})

test('an agent is told of a pull that nobody waits for any more, and only then', async () => {
  const told: number[] = []
  const pulls = createPulls((pull) => told.push(pull))
  const client = new AbortController()
  const first = pulls.begin(() => undefined, client.signal)
  const second = pulls.begin(() => undefined, client.signal)
  const end = { type: 'pull-end', session: 1, record: null, message: 'no' } as const
  pulls.end({ ...end, pull: first.pull, code: 'IMAGE_NOT_FOUND' })
  await assert.rejects(first.ended, { code: 'IMAGE_NOT_FOUND' })
  client.abort()
  await assert.rejects(second.ended, { code: 'PULL_FAILED' })
  assert.deepEqual(told, [second.pull])
})

test('a pull of which the agent says nothing more is given up, however long it was heard of', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const told: number[] = []
  const pulls = createPulls((pull) => told.push(pull))
  const lines: string[] = []
  const client = new AbortController()
  const { pull, ended } = pulls.begin((line) => lines.push(line), client.signal)
  const over = pulls.begin(() => undefined, client.signal)
  const outcome = assert.rejects(ended, { code: 'PULL_FAILED', message: /silent/ })
  for (let n = 0; n < 3; n += 1) {
    t.mock.timers.tick(limits.pullSilenceMs - 1)
    pulls.progress(pull, 'more')
    pulls.progress(over.pull, 'more')
  }
  pulls.end({
    type: 'pull-end',
    session: 1,
    pull: over.pull,
    record: IMAGE,
    code: 'FINISHED',
    message: '',
  })
  assert.equal(await over.ended, IMAGE)
  assert.deepEqual(told, [])
  t.mock.timers.tick(limits.pullSilenceMs)
  await outcome
  assert.deepEqual([told, lines], [[pull], ['more', 'more', 'more']])
  client.abort()
  assert.deepEqual(told, [pull], 'it is told once')
})

test('the engine lets go of a pull that is given up', async (t) => {
  const fake = await startFakeEngine()
  const engine = startEngine(fake.dockerHost)
  t.after(async () => {
    engine.close()
    await fake.close()
  })
  const images = createImages({
    ...{ engine, initDir: '', trouble: () => '' },
    pulled: { list: () => [], has: () => false, add: unused, drop: unused, used: unused },
  })
  const client = new AbortController()
  const lines: string[] = []
  const pull = images.pull('ubuntu', '', (line) => lines.push(line), client.signal)
  const ended = assert.rejects(pull, { code: 'PULL_FAILED' })
  await eventually(() => fake.pulls() === 1 && lines.length === 1)
  client.abort()
  await ended
  await eventually(() => fake.pulls() === 0)
})

test('a shared pull ends when the last of those who wait for it is gone', async () => {
  const flights = createFlights<string>()
  const started: AbortSignal[] = []
  const start = (signal: AbortSignal): Promise<string> => {
    started.push(signal)
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  }
  const [one, two] = [new AbortController(), new AbortController()]
  const first = assert.rejects(flights.join('a', start, one.signal), /first/)
  const second = assert.rejects(flights.join('a', start, two.signal), /second/)
  assert.equal(started.length, 1)
  one.abort(new Error('first'))
  await first
  assert.equal(started[0]?.aborted, false)
  two.abort(new Error('second'))
  await second
  assert.equal(started[0]?.aborted, true)
  assert.equal(await flights.join('a', async () => 'anew', new AbortController().signal), 'anew')
})
