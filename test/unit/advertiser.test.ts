import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { type AdvertiserDeps, startAdvertiser } from '../../agent/advertiser.ts'
import type { Advert } from '../../protocol/advert.ts'
import { limits } from '../../protocol/limits.ts'
import { createTestClock, settle } from '../support/pool-bench.ts'

const start = (over: Partial<AdvertiserDeps> = {}) => {
  const { clock, pass, timers } = createTestClock()
  const said: Advert[] = []
  const state = { isHeard: true, free: 4 }
  const deps: AdvertiserDeps = {
    attempts: {
      free: () => ({ slots: state.free, memoryBytes: 1 }),
      isDraining: () => false,
    },
    isReady: () => true,
    images: { keys: async () => ['sha256:1'], changes: () => 0 },
    ready: () => new Map([['k', 2]]),
    disk: {
      look: async () => ({ freeBytes: 2 ** 60, allBytes: 2 ** 60 }),
      trouble: () => '',
    },
    async publish(advert) {
      said.push(advert)
      return state.isHeard
    },
    clock,
    random: () => 0,
    log: pino({ level: 'silent' }),
    ...over,
  }
  return { advertiser: startAdvertiser(deps), said, state, pass, timers }
}

test('it is said at once, then as a heartbeat', async () => {
  const { said, pass } = start()
  await pass(0)
  assert.equal(said.length, 1)
  await pass(limits.advertMs - 1)
  assert.equal(said.length, 1)
  await pass(2)
  assert.equal(said.length, 2)
  assert.deepEqual(
    said.map(({ sequence }) => sequence),
    [1, 2],
  )
})

test('heartbeats of agents that began together drift apart, and are never late', async () => {
  const times: number[] = []
  for (const random of [0, 0.5, 1]) {
    const { said, pass } = start({ random: () => random })
    await pass(0)
    let passedMs = 0
    for (; said.length < 2; passedMs += 100) await pass(100)
    times.push(passedMs)
  }
  assert.deepEqual(times, [15_000, 13_200, 11_300])
})

test('many changes are one advert, after the pause, and it tells the last of them', async () => {
  const { advertiser, said, state, pass } = start()
  await pass(0)
  for (let free = 3; free >= 0; free -= 1) {
    state.free = free
    advertiser.changed()
    await pass(limits.advertPauseMs / 10)
  }
  assert.equal(said.length, 1)
  await pass(limits.advertPauseMs)
  assert.equal(said.length, 2)
  assert.equal(said.at(-1)?.slotsFree, 0)
})

test('however often something changes there is a pause between adverts', async () => {
  const { advertiser, said, pass } = start()
  for (let ms = 0; ms < 10_000; ms += 10) {
    advertiser.changed()
    await pass(10)
  }
  assert.ok(said.length <= 1 + 10_000 / limits.advertPauseMs, `${said.length} adverts`)
  assert.ok(said.length >= 10_000 / limits.advertPauseMs - 1, `${said.length} adverts`)
})

test('what nobody heard, or could not be published, is said again a moment later', async () => {
  const { said, state, pass } = start()
  state.isHeard = false
  await pass(0)
  await pass(2 * limits.advertPauseMs)
  assert.equal(said.length, 3)
  state.isHeard = true
  await pass(limits.advertPauseMs)
  await pass(limits.advertMs / 2)
  assert.equal(said.length, 4)

  let tries = 0
  const failing = start({
    async publish() {
      tries += 1
      throw new Error('the stream is closed')
    },
  })
  await failing.pass(2 * limits.advertPauseMs)
  assert.equal(tries, 3)
})

test('a disk beyond counting is told as what can be', async () => {
  const { said, pass } = start()
  await pass(0)
  assert.equal(said[0]?.diskFreeBytes, Number.MAX_SAFE_INTEGER)
})

test('once closed it says no more, and what was being said is said', async () => {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const { advertiser, said, pass, timers } = start({
    publish: (advert) => {
      said.push(advert)
      return promise
    },
  })
  await pass(0)
  let isClosed = false
  const closing = advertiser.close().then(() => {
    isClosed = true
  })
  await settle()
  assert.equal(isClosed, false)
  resolve(true)
  await closing
  advertiser.changed()
  assert.equal(timers.size, 0)
  await pass(2 * limits.advertMs)
  assert.equal(said.length, 1)
})
