/** The channel that is opened before there is a hello to be said on it. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openEarly } from '../../agent/first-channel.ts'
import type { AgentChannel } from '../../protocol/mesh/agent-channel.ts'
import { eventually } from '../support/eventually.ts'

const createBench = (keepMs?: number) => {
  const opened: PromiseWithResolvers<AgentChannel>[] = []
  const signals: AbortSignal[] = []
  const closed: number[] = []
  const ends: PromiseWithResolvers<Error | null>[] = []
  const channel = (number: number): AgentChannel => {
    const end = Promise.withResolvers<Error | null>()
    ends[number] = end
    return {
      number,
      closed: end.promise,
      async close() {
        closed.push(number)
      },
    } as unknown as AgentChannel
  }
  const first = openEarly((signal) => {
    const one = Promise.withResolvers<AgentChannel>()
    signals.push(signal)
    signal.addEventListener('abort', () => one.reject(signal.reason))
    opened.push(one)
    return one.promise
  }, keepMs)
  return { first, opened, signals, closed, ends, channel }
}

const never = new AbortController().signal

test('it is the first that is asked for, and only that', async () => {
  const { first, opened, channel } = createBench()
  const early = channel(0)
  opened[0]?.resolve(early)
  assert.equal(await first.open(never), early)
  const second = first.open(never)
  await eventually(() => opened.length === 2)
  const later = channel(1)
  opened[1]?.resolve(later)
  assert.equal(await second, later)
})

test('where it failed, or has ended meanwhile, another is opened', async () => {
  for (const how of ['failed', 'ended']) {
    const { first, opened, ends, channel } = createBench()
    if (how === 'failed') opened[0]?.reject(new Error('nobody there'))
    else {
      opened[0]?.resolve(channel(0))
      await new Promise(setImmediate)
      ends[0]?.resolve(null)
    }
    await new Promise(setImmediate)
    const other = first.open(never)
    await eventually(() => opened.length === 2)
    opened[1]?.reject(new Error('why not'))
    await assert.rejects(other, { message: 'why not' }, how)
  }
})

test('who asks for it and gives up ends the dial', async () => {
  const { first, opened, signals } = createBench()
  const giving = new AbortController()
  const asked = first.open(giving.signal)
  giving.abort(new Error('stopping'))
  await eventually(() => signals[0]?.aborted === true)
  await eventually(() => opened.length === 2)
  opened[1]?.reject(giving.signal.reason)
  await assert.rejects(asked, { message: 'stopping' })
})

test('one that nobody took is closed, also one that is just being opened', async () => {
  const taken = createBench()
  taken.opened[0]?.resolve(taken.channel(0))
  await taken.first.close()
  assert.deepEqual(taken.closed, [0])
  const dialling = createBench()
  await dialling.first.close()
  assert.ok(dialling.signals[0]?.aborted)
})

test('one that nobody asks for is closed before a hello is waited for in vain', async () => {
  const { first, opened, closed, channel } = createBench(10)
  opened[0]?.resolve(channel(0))
  await eventually(() => closed.length === 1)
  const asked = first.open(never)
  await eventually(() => opened.length === 2)
  const later = channel(1)
  opened[1]?.resolve(later)
  assert.equal(await asked, later)
})

test('one that was asked for is kept, also if it was asked for while it was opened', async () => {
  for (const isEarly of [true, false]) {
    const { first, opened, closed, channel } = createBench(10)
    const asked = isEarly ? first.open(never) : null
    opened[0]?.resolve(channel(0))
    await (asked ?? first.open(never))
    await new Promise((resolve) => setTimeout(resolve, 30))
    assert.deepEqual(closed, [])
  }
})
