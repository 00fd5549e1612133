import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as cbor from '@ipld/dag-cbor'
import { decodeAdvert, encodeAdvert } from '../../protocol/advert.ts'
import { limits } from '../../protocol/limits.ts'
import { decodeAgentMessage, encodeMessage } from '../../protocol/messages.ts'
import { createRate, createRates } from '../../protocol/rate.ts'
import { makeHello } from '../support/ledger-words.ts'
import { advertOf } from '../support/mesh.ts'

const key = { call: '01234567-89ab-4def-8123-456789abcdef', attempt: 1, epoch: 1 }

const isRefused = (decode: () => unknown): boolean => {
  try {
    decode()
    return false
  } catch {
    return true
  }
}

test('the largest honest hello passes', () => {
  const hello = makeHello({
    slots: limits.slotsMax,
    attempts: Array.from({ length: limits.slotsMax }, () => ({ key, running: true })),
    outbox: Array.from({ length: limits.attemptsNamedMax }, () => key),
    labels: Object.fromEntries(Array.from({ length: limits.labelsMax }, (_, n) => [`l${n}`, 'v'])),
    runtimes: Array.from({ length: limits.runtimesMax }, (_, n) => `runtime-${n}`),
    memoryBytes: 2 ** 45,
  })
  assert.deepEqual(decodeAgentMessage(encodeMessage(hello)), hello)
})

test('numbers of a hello that cannot be are refused', () => {
  for (const slots of [-1, 1.5, limits.slotsMax + 1, 1e9, 2 ** 53, 1e300, '4', null]) {
    assert.ok(
      isRefused(() => decodeAgentMessage(cbor.encode({ ...makeHello(), slots }))),
      `${slots} slots`,
    )
  }
  for (const field of ['memoryBytes', 'start', 'greeting', 'epochSeen', 'protocol']) {
    for (const value of [-1, 0.5, 2 ** 53, 2n ** 63n, 1e300]) {
      const bytes = cbor.encode({ ...makeHello(), [field]: value })
      assert.ok(
        isRefused(() => decodeAgentMessage(bytes)),
        `${field} ${value}`,
      )
    }
  }
})

test('lists and words of a hello beyond their bounds are refused', () => {
  const many = (length: number) => Array.from({ length }, (_, n) => `w${n}`)
  const wrong: readonly object[] = [
    { runtimes: many(limits.runtimesMax + 1) },
    { runtimes: ['r'.repeat(limits.runtimeCharsMax + 1)] },
    { labels: Object.fromEntries(many(limits.labelsMax + 1).map((name) => [name, ''])) },
    { labels: { ['l'.repeat(limits.labelCharsMax + 1)]: '' } },
    { labels: { l: 'v'.repeat(limits.labelCharsMax + 1) } },
    { outbox: Array.from({ length: limits.attemptsNamedMax + 1 }, () => key) },
    { host: 'h'.repeat(limits.hostCharsMax + 1) },
  ]
  for (const over of wrong) {
    assert.ok(
      isRefused(() => decodeAgentMessage(cbor.encode({ ...makeHello(), ...over }))),
      Object.keys(over).join(),
    )
  }
})

test('an advert says what can be, or is refused', () => {
  assert.deepEqual(decodeAdvert(encodeAdvert(advertOf(1))), advertOf(1))
  for (const over of [
    { slotsFree: 1e9 },
    { slotsFree: -1 },
    { memoryFreeBytes: 2 ** 53 },
    { diskFreeBytes: 1e300 },
    { sequence: 2 ** 53 },
    { ready: [{ key: 'k', count: limits.slotsMax + 1 }] },
    { ready: Array.from({ length: limits.advertReadyMax + 1 }, () => ({ key: 'k', count: 1 })) },
  ]) {
    const bytes = cbor.encode({ ...advertOf(1), ...over })
    assert.ok(
      isRefused(() => decodeAdvert(bytes)),
      JSON.stringify(over).slice(0, 80),
    )
  }
})

test('NaN is no number of dag-cbor', () => {
  const bytes = cbor.encode({ ...advertOf(1), slotsFree: 0.5 })
  const at = Buffer.from(bytes).indexOf(Buffer.from([0xfb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0]))
  assert.ok(at > 0)
  bytes.set([0x7f, 0xf8], at + 1)
  assert.throws(() => decodeAdvert(bytes), /NaN/)
})

test('a value of too many items is refused before it is read to its end', () => {
  const bytes = new Uint8Array(1_000_005)
  bytes[0] = 0x9a
  new DataView(bytes.buffer).setUint32(1, 1_000_000)
  assert.throws(() => decodeAgentMessage(bytes), {
    code: 'BAD_PARAMETER',
    message: /too many items/,
  })
})

test('a large wrong message is refused without a search for what is wrong', () => {
  const attempts = Array.from({ length: 3000 }, () => ({}))
  const bytes = cbor.encode({ type: 'heartbeat', session: 1, attempts })
  assert.throws(() => decodeAgentMessage(bytes), { message: 'message of an agent is wrong' })
})

test('a rate lets a burst through, then what comes back with time', () => {
  const rate = createRate({ perSecond: 2, burst: 3 })
  const taken = (nowMs: number, times: number): number =>
    Array.from({ length: times }, () => rate.take(nowMs)).filter(Boolean).length
  assert.equal(taken(0, 10), 3)
  assert.equal(taken(499, 10), 0)
  assert.equal(taken(500, 10), 1)
  rate.giveBack()
  assert.equal(taken(500, 10), 1)
  assert.equal(taken(60_000, 10), 3)
  assert.equal(rate.isFull(60_000), false)
  assert.equal(rate.isFull(70_000), true)
})

test('names with a rate are forgotten when they are full again, and bounded meanwhile', () => {
  let nowMs = 0
  const rates = createRates({ perSecond: 1, burst: 1, namesMax: 2 }, () => nowMs)
  assert.equal(rates.take('a'), true)
  assert.equal(rates.take('a'), false)
  assert.equal(rates.take('b'), true)
  // No room: the first is forgotten.
  assert.equal(rates.take('c'), true)
  assert.equal(rates.take('b'), false)
  assert.equal(rates.take('a'), true)
  nowMs = 10_000
  assert.equal(rates.take('b'), true)
})
