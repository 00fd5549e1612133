import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { createLull } from '../../agent/lull.ts'
import { limits } from '../../protocol/limits.ts'
import { createTestClock } from '../support/pool-bench.ts'

test('there is no lull while a call is on its way into its container, however long that takes', async () => {
  const { clock, pass } = createTestClock()
  const lull = createLull(clock)
  const isIn = lull.enter()
  const isAnotherIn = lull.enter()
  await pass(limits.lullMs * 2)
  assert.equal(lull.leftMs(clock.nowMs()), limits.lullMs)
  isIn()
  isIn()
  await pass(limits.lullMs * 2)
  assert.equal(lull.leftMs(clock.nowMs()), limits.lullMs, 'one of two is in')
  isAnotherIn()
  assert.equal(lull.leftMs(clock.nowMs()), limits.lullMs)
  await pass(limits.lullMs)
  assert.equal(lull.leftMs(clock.nowMs()), 0)
})

test('what waits for a lull does not wait for ever', async () => {
  const { clock, pass } = createTestClock()
  const lull = createLull(clock)
  lull.enter()
  const sinceMs = clock.nowMs()
  await pass(limits.lullPatienceMs - 1)
  assert.equal(lull.leftMs(sinceMs), 1)
  await pass(1)
  assert.equal(lull.leftMs(sinceMs), 0)
})

test('who waited leaves nothing on the signal, which lives as long as the agent', async () => {
  const { clock, pass } = createTestClock()
  const lull = createLull(clock)
  const { signal } = new AbortController()
  const isIn = lull.enter()
  const waiting = lull.wait(signal)
  await pass(limits.lullMs * 3)
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  isIn()
  await pass(limits.lullMs * 2)
  await waiting
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})
