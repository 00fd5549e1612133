import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createCaches } from '../../coordinator/caches.ts'
import type { Effect, LedgerEvent } from '../../coordinator/ledger/state.ts'
import { addAccount, createLedger, step } from '../../coordinator/ledger/step.ts'
import { loadLedger } from '../../coordinator/load.ts'
import type { Operation } from '../../coordinator/store.ts'
import { limits } from '../../protocol/limits.ts'
import type { Hello } from '../../protocol/messages.ts'
import { createDisk } from '../support/ledger-disk.ts'
import { checkBooks } from '../support/ledger-invariants.ts'
import { makeHello, makeResult, makeTerms } from '../support/ledger-words.ts'

const CALL = '00000000-0000-4000-8000-000000000001'
const minute = 60_000
const wall = '2017-03-16T07:05:24.473Z'

/** A ledger whose writes reach a disk, and that can be loaded from it again. */
const createRestartable = (over: object = {}) => {
  const disk = createDisk()
  const terms = makeTerms(over)
  let caches = createCaches()
  let ledger = createLedger(1, 0)
  let nowMs = 0
  addAccount(ledger, 'a1', 1)
  const writesOf = (effect: Effect): Operation[] => {
    if (effect.type === 'write') return [effect.operation]
    if (effect.type === 'ended') {
      return caches.addHistory(effect.row, effect.isOwed ? null : effect.body, nowMs)
    }
    if (effect.type === 'output-gone') return caches.dropOutput(effect.row, nowMs)
    return effect.type === 'keep-output' ? caches.keepOutput(effect.row, effect.body, nowMs) : []
  }
  const apply = (event: LedgerEvent): Effect[] => {
    const effects = step(ledger, event, { ms: nowMs, wall })
    checkBooks(ledger)
    disk.commitNow(effects.flatMap(writesOf))
    return effects
  }
  return {
    disk,
    apply,
    ledger: () => ledger,
    caches: () => caches,
    call: () => ledger.calls.get(CALL),
    accept: (sync = false): Effect[] =>
      apply({
        ...{ type: 'accept', id: CALL, terms, sync, environment: [], note: '' },
        payload: new Uint8Array(5),
      }),
    connect: (over_: Partial<Hello> = {}): Effect[] =>
      apply({ type: 'connect', agentId: 'one', name: 'one', session: 1, hello: makeHello(over_) }),
    pass(ms: number): Effect[] {
      const effects: Effect[] = []
      for (const endMs = nowMs + ms; nowMs < endMs; ) {
        nowMs += 1_000
        effects.push(...apply({ type: 'tick' }))
      }
      return effects
    },
    /** The coordinator looks at its clocks once, so much later. */
    later(ms: number): Effect[] {
      nowMs += ms
      return apply({ type: 'tick' })
    },
    async restart(accounts = [{ id: 'a1', quota: 1 }]): Promise<void> {
      ledger = createLedger(ledger.epoch + 1, nowMs)
      caches = createCaches()
      await loadLedger(disk, ledger, caches, accounts, () => terms, nowMs)
      checkBooks(ledger)
    },
  }
}

describe('a coordinator that was killed', () => {
  const key = { call: CALL, attempt: 1, epoch: 1 }

  test('gives every lease 10 min, and its loss then uses up no attempt', async () => {
    const bench = createRestartable({ maxAttempts: 1 })
    bench.connect()
    bench.accept()
    await bench.restart()
    assert.equal(bench.call()?.state, 'leased')
    bench.pass(11 * minute)
    assert.equal(bench.call()?.state, 'leased')
    bench.pass(minute)
    assert.deepEqual([bench.call()?.state, bench.call()?.attemptsLost], ['queued', 0])
  })

  test('takes the result of an attempt from before, under its old epoch', async () => {
    const bench = createRestartable()
    bench.connect()
    bench.accept()
    await bench.restart()
    bench.connect({ outbox: [key] })
    const effects = bench.apply({ type: 'result', agentId: 'one', key, result: makeResult(key) })
    assert.ok(effects.some((effect) => effect.type === 'final'))
    assert.equal(bench.ledger().leases.size, 0)
  })

  test('still knows lost attempts, their count, and the place in the queue', async () => {
    const bench = createRestartable()
    bench.connect()
    bench.accept()
    bench.apply({ type: 'disconnect', agentId: 'one', session: 1 })
    bench.pass(minute)
    await bench.restart()
    assert.deepEqual([bench.call()?.attemptsLost, bench.call()?.granted.length], [1, 1])
    bench.connect({ attempts: [{ key, running: true }] })
    assert.deepEqual([bench.call()?.state, bench.call()?.attemptsLost], ['running', 0])
  })

  test('holds the lease of a cancelled call, also when its account is gone', async () => {
    const bench = createRestartable()
    bench.connect()
    bench.accept()
    bench.apply({ type: 'cancel', callId: CALL })
    await bench.restart([])
    assert.equal(bench.ledger().leases.size, 1)
    bench.connect({ attempts: [{ key, running: true }] })
    assert.equal(bench.ledger().agents.get('one')?.slotsUsed, 1)
    bench.apply({ type: 'gone', agentId: 'one', key })
    assert.deepEqual(bench.disk.keys('lease'), [])
  })

  test('writes the owed body of a synchronous call when it is reported again', async () => {
    const bench = createRestartable()
    bench.connect()
    bench.accept(true)
    bench.apply({ type: 'result', agentId: 'one', key, result: makeResult(key) })
    assert.equal(bench.disk.keys('output').length, 0)
    await bench.restart()
    assert.equal(bench.ledger().owed.size, 1)
    const effects = bench.connect({ attempts: [{ key, running: true }] })
    const verdicts = effects.flatMap((effect) => (effect.type === 'welcome' ? effect.verdicts : []))
    assert.deepEqual(verdicts, [{ key, verdict: 'keep' }], 'its agent makes the result again')
    assert.equal(bench.ledger().owed.size, 1)
    bench.apply({ type: 'result', agentId: 'one', key, result: makeResult(key) })
    assert.deepEqual([bench.disk.keys('output').length, bench.disk.keys('owed').length], [1, 0])
  })

  test('gives up an owed body that its agent does not name any more', async () => {
    const bench = createRestartable()
    bench.connect()
    bench.accept(true)
    bench.apply({ type: 'result', agentId: 'one', key, result: makeResult(key) })
    await bench.restart()
    const effects = bench.connect({ storeId: 'another' })
    assert.ok(effects.some((effect) => effect.type === 'output-gone'))
    assert.ok(
      effects.some((effect) => effect.type === 'final'),
      'who waits is told',
    )
    assert.equal(bench.ledger().owed.size, 0)
  })

  test('gives up an owed body whose agent stays away for a day', async () => {
    const bench = createRestartable()
    bench.connect()
    bench.accept(true)
    bench.apply({ type: 'result', agentId: 'one', key, result: makeResult(key) })
    await bench.restart()
    bench.later(limits.historyMs - 2_000)
    assert.equal(bench.ledger().owed.size, 1)
    const effects = bench.later(4_000)
    assert.ok(effects.some((effect) => effect.type === 'final'))
    assert.deepEqual([bench.ledger().owed.size, bench.disk.keys('owed').length], [0, 0])
  })
})
