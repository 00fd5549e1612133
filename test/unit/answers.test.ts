import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as pause } from 'node:timers/promises'
import { createAnswers } from '../../coordinator/answers.ts'
import { createCaches } from '../../coordinator/caches.ts'
import { createCommitLoop } from '../../coordinator/commit-loop.ts'
import type { LedgerEvent } from '../../coordinator/ledger/state.ts'
import { addAccount, createLedger } from '../../coordinator/ledger/step.ts'
import { loadLedger } from '../../coordinator/load.ts'
import { createTransactions, type Transactions } from '../../coordinator/transactions.ts'
import type { AttemptKey, AttemptResult } from '../../protocol/call.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Hello } from '../../protocol/messages.ts'
import { createDisk, type Disk } from '../support/ledger-disk.ts'
import { makeHello, makeResult, makeTerms, outputOf } from '../support/ledger-words.ts'

const CALL = '00000000-0000-4000-8000-000000000001'
const key: AttemptKey = { call: CALL, attempt: 1, epoch: 1 }
const terms = makeTerms()

/** A coordinator's way out on a disk in memory; a second one on the same disk is its restart. */
const createWayOut = async (disk: Disk = createDisk(), epoch = 1) => {
  const ledger = createLedger(epoch, 0)
  const caches = createCaches()
  const acknowledged: AttemptKey[] = []
  const assigned: AttemptKey[] = []
  let nowMs = 0
  let onHistoryRead = (): void => undefined
  const get: Disk['get'] = (sublevel, name) => {
    if (sublevel === 'history') onHistoryRead()
    return disk.get(sublevel, name)
  }
  const commit: Disk['commit'] = async (operations) => {
    await pause()
    return disk.commit(operations)
  }
  const loop = createCommitLoop({ commit }, (error) => assert.fail(String(error)))
  const transactions: Transactions = createTransactions({
    ...{ ledger, caches, loop, nowMs: () => nowMs, wall: () => '2017-03-16T07:05:24.473Z' },
    onFault: (error) => {
      throw error
    },
    listeners: {
      logged: () => undefined,
      final: (...answer) => answers.final(...answer),
      assign: (_agentId, assignedKey) => assigned.push(assignedKey),
      send: (_agentId, order) => {
        if (order.type === 'acknowledge') acknowledged.push(order.key)
      },
      welcome: () => undefined,
    },
  })
  const { apply, record, settled } = transactions
  const answers = createAnswers({
    ...{
      ledger,
      caches,
      store: { get, body: disk.body },
      apply,
      record,
      settled,
      nowMs: () => nowMs,
    },
    onFault: (error) => assert.fail(String(error)),
  })
  await loadLedger(disk, ledger, caches, [], () => terms, 0)
  addAccount(ledger, 'a1', 10)
  return {
    ...{ disk, ledger, answers, acknowledged, assigned, apply, settled },
    connect: (over: Partial<Hello> = {}): void => {
      const hello = makeHello(over)
      apply({ type: 'connect', agentId: 'one', name: 'one', session: 1, hello })
    },
    accept(sync: boolean, atMostOnce = false, id = CALL): void {
      const event: LedgerEvent = {
        ...{ type: 'accept', id, terms: { ...terms, atMostOnce }, sync },
        ...{ payload: new Uint8Array(1), environment: [], note: '' },
      }
      apply(event)
    },
    end: (
      code: ErrorCode = 'FINISHED',
      ended: AttemptKey = key,
      over: Partial<AttemptResult> = {},
    ): void => {
      const result = makeResult(ended, code, over)
      apply({ type: 'result', agentId: 'one', key: ended, result })
    },
    /** Once, when somebody reads the history row. */
    whileRead(act: () => void): void {
      onHistoryRead = () => {
        onHistoryRead = () => undefined
        act()
      }
    },
    pass(ms: number): void {
      nowMs += ms
      apply({ type: 'tick' })
      answers.expire()
    },
  }
}

const statusOf = async (way: Awaited<ReturnType<typeof createWayOut>>): Promise<number | null> =>
  (await way.answers.read('f1', CALL))?.httpStatus ?? null

describe('the answer of a call', () => {
  test('is its output while the cache has it, and for 60 s after its delivery', async () => {
    const way = await createWayOut()
    way.connect()
    way.accept(false)
    way.end()
    const answer = await way.answers.read('f1', CALL)
    assert.deepEqual(answer?.body, outputOf(key))
    way.answers.undelivered(CALL)
    way.pass(3_600_000)
    assert.equal(await statusOf(way), 200)
    way.answers.delivered(CALL)
    way.pass(59_000)
    assert.equal(await statusOf(way), 200)
    way.pass(2_000)
    assert.equal(await statusOf(way), 410)
    assert.equal(await way.answers.read('another', CALL), null)
  })

  test('counts as fetched when one of two readers had it whole', async () => {
    const way = await createWayOut()
    way.connect()
    way.accept(false)
    way.end()
    await way.answers.read('f1', CALL)
    await way.answers.read('f1', CALL)
    way.answers.undelivered(CALL)
    way.answers.delivered(CALL)
    assert.equal(await statusOf(way), 200)
    way.pass(61_000)
    assert.equal(await statusOf(way), 410)
  })

  test('is 500 with the reason, 504, or 509 where it failed', async () => {
    const codes = [
      ['CALL_EXITED', 500],
      ['CALL_TIMED_OUT', 504],
      ['OUTPUT_TOO_LARGE', 509],
    ] as const
    for (const [code, status] of codes) {
      const way = await createWayOut()
      way.connect()
      way.accept(false)
      way.end(code)
      const answer = await way.answers.read('f1', CALL)
      assert.equal(answer?.httpStatus, status)
      assert.equal(new TextDecoder().decode(answer?.body), `because ${code}`)
    }
  })

  test('reaches all who wait, after its commit, and not who gave up', async () => {
    const way = await createWayOut()
    way.connect()
    way.accept(false)
    const gone = new AbortController()
    const waits = [way.answers.wait(CALL, null), way.answers.wait(CALL, null)]
    const given = way.answers.wait(CALL, gone.signal)
    gone.abort(new Error('gone'))
    await assert.rejects(given, /gone/)
    await assert.rejects(way.answers.wait(CALL, gone.signal), /gone/)
    way.end()
    for (const answer of await Promise.all(waits)) {
      assert.equal(answer.httpStatus, 200)
      assert.equal(way.disk.keys('history').length, 1)
    }
  })

  test('is there for who asks while its end is being written', async () => {
    const way = await createWayOut()
    way.connect()
    way.accept(false)
    way.end()
    assert.equal(await statusOf(way), 200)
  })
})

describe('the answer of a synchronous call', () => {
  test('comes from memory and is acknowledged only once it was delivered', async () => {
    const way = await createWayOut()
    way.connect()
    way.accept(true)
    const waiting = way.answers.wait(CALL, null)
    way.end()
    assert.deepEqual((await waiting).body, outputOf(key))
    assert.deepEqual([way.disk.keys('output').length, way.acknowledged.length], [0, 0])
    way.answers.delivered(CALL)
    await way.settled()
    assert.deepEqual([way.acknowledged, way.disk.keys('owed')], [[key], []])
    assert.equal(await statusOf(way), 200, 'for the grace')
    way.pass(61_000)
    assert.equal(await statusOf(way), 410)
  })

  test('is written where the delivery broke off, and never 410 meanwhile', async () => {
    const way = await createWayOut()
    way.connect()
    way.accept(true)
    const waiting = way.answers.wait(CALL, null)
    way.end()
    await waiting
    way.whileRead(() => way.answers.undelivered(CALL))
    assert.deepEqual([await statusOf(way), await statusOf(way)], [200, 200])
    assert.deepEqual(way.acknowledged, [key])
    assert.equal(way.disk.keys('output').length, 1)
  })

  test('is written where its client left before the end, or between decision and commit', async () => {
    for (const isEarly of [true, false]) {
      const way = await createWayOut()
      way.connect()
      way.accept(true)
      if (isEarly) way.answers.undelivered(CALL)
      way.end()
      if (!isEarly) way.answers.undelivered(CALL)
      await way.settled()
      await way.settled()
      assert.deepEqual([way.disk.keys('output').length, way.disk.keys('owed').length], [1, 0])
      assert.deepEqual(way.acknowledged, [key])
    }
  })

  test('goes by way of the cache where slow clients hold all the room there is', async () => {
    const way = await createWayOut()
    way.connect({ slots: 2 })
    const held: AttemptKey = { ...key, call: CALL.replace(/1$/, '2') }
    const body = new Uint8Array(limits.owedBytesMax - 1)
    way.accept(true, false, held.call)
    const first = way.answers.wait(held.call, null)
    way.end('FINISHED', held, { stdout: body })
    await first
    way.accept(true)
    const second = way.answers.wait(CALL, null)
    way.end()
    assert.deepEqual((await second).body, outputOf(key))
    await way.settled()
    assert.deepEqual([way.disk.keys('output').length, way.disk.keys('owed')], [1, [held.call]])
    assert.deepEqual(way.acknowledged, [key])
    way.answers.delivered(CALL)
    assert.equal(await statusOf(way), 200)
    way.pass(limits.deliveredGraceMs)
    assert.equal(await statusOf(way), 410)
    way.answers.delivered(held.call)
    await way.settled()
    assert.deepEqual(way.disk.keys('owed'), [])
  })

  test('is with its agent after a crash: not gone, and there once it was reported again', async () => {
    const first = await createWayOut()
    first.connect()
    first.accept(true)
    first.end()
    await first.settled()
    const way = await createWayOut(first.disk, 2)
    assert.equal(way.answers.isAway(CALL), true)
    assert.equal(await way.answers.read('f1', CALL), null)
    const waiting = way.answers.wait(CALL, null)
    way.connect({ outbox: [key] })
    way.end()
    assert.deepEqual((await waiting).body, outputOf(key))
    assert.equal(await statusOf(way), 200)
    assert.deepEqual(way.acknowledged, [key])
  })
})

describe('an assignment', () => {
  const isEarly = async (sync: boolean, atMostOnce = false): Promise<boolean> => {
    const way = await createWayOut()
    way.connect()
    await way.settled()
    way.accept(sync, atMostOnce)
    const early = way.assigned.length === 1
    await way.settled()
    assert.equal(way.assigned.length, 1)
    return early
  }

  test('leaves beside its write for a synchronous call, and after it for every other', async () => {
    assert.equal(await isEarly(true), true)
    assert.equal(await isEarly(false), false)
    assert.equal(await isEarly(true, true), false)
  })

  test('waits for the writes before it', async () => {
    const way = await createWayOut()
    way.connect()
    way.apply({ type: 'cancel', callId: 'none' })
    way.accept(true)
    assert.deepEqual(way.assigned, [], 'the hello is not answered yet')
    await way.settled()
    assert.equal(way.assigned.length, 1)
  })
})
