import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { atMostOnceCalls } from '../../coordinator/ledger/lost.ts'
import type { Effect } from '../../coordinator/ledger/state.ts'
import { limits } from '../../protocol/limits.ts'
import { CALL, createRestartable } from '../support/ledger-restartable.ts'
import { makeResult } from '../support/ledger-words.ts'

const minute = 60_000

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

describe('what a restart still knows of a call that waits', () => {
  const key = { call: CALL, attempt: 1, epoch: 1 }
  const queueTimeoutMs = 60 * minute

  test('how long it has waited as a head, but for one step', async () => {
    const bench = createRestartable({ queueTimeoutMs })
    bench.accept()
    bench.pass(50 * minute)
    await bench.restart()
    const waitedMs = bench.call()?.delay?.waitedMs ?? 0
    assert.ok(waitedMs > 45 * minute && waitedMs <= 50 * minute, `${waitedMs}`)
    bench.pass(16 * minute)
    assert.equal(bench.call(), undefined, 'it has waited for an hour in all')
  })

  test('how long it has waited aside', async () => {
    const bench = createRestartable({ queueTimeoutMs, platforms: ['linux/riscv64'] })
    bench.connect()
    bench.accept()
    bench.pass(50 * minute)
    assert.equal(bench.call()?.state, 'aside')
    await bench.restart()
    assert.ok((bench.call()?.delay?.waitedMs ?? 0) > 45 * minute)
  })

  test('with few writes', () => {
    const bench = createRestartable({ queueTimeoutMs: 1_440 * minute })
    bench.accept()
    const isCall = (key_: string): boolean => key_ === bench.disk.keys('call')[0]
    let writes = 0
    for (let passed = 0; passed < 1_439; passed += 1) {
      for (const effect of bench.pass(minute)) {
        if (effect.type === 'write' && isCall(effect.operation.key)) writes += 1
      }
    }
    assert.ok(writes > 20 && writes < 100, `${writes}`)
  })

  test('how long the platform has failed it, and the pause that it was in', async () => {
    const bench = createRestartable()
    bench.connect()
    bench.accept()
    const failed = makeResult(key, 'START_FAILED', { started: false })
    for (let attempt = 1; attempt <= 8; attempt += 1) {
      const of = { ...key, attempt }
      bench.apply({ type: 'result', agentId: 'one', key: of, result: failed })
      for (let second = 0; attempt < 8 && bench.call()?.state !== 'leased'; second += 1) {
        assert.ok(second < 40, 'a pause ends')
        bench.apply({ type: 'heartbeat', agentId: 'one', keys: [] })
        bench.pass(1_000)
      }
    }
    assert.equal(bench.call()?.delay?.pauseMs, 30_000)
    const before = { ...bench.call()?.delay }
    await bench.restart()
    const { failedForMs, pauseMs } = bench.call()?.delay ?? {}
    assert.deepEqual([failedForMs, pauseMs], [before.failedForMs, 30_000])
    bench.connect()
    assert.equal(bench.call()?.state, 'aside', 'a restart is no way round the pause')
    for (let second = 0; second < 31; second += 1) {
      bench.apply({ type: 'heartbeat', agentId: 'one', keys: [] })
      bench.pass(1_000)
    }
    assert.equal(bench.call()?.state, 'leased')
  })
})

describe('a state that was restored from a backup', () => {
  const finalsIn = (effects: readonly Effect[]) =>
    effects.flatMap((effect) => (effect.type === 'final' ? [effect.outcome] : []))

  test('ends at-most-once calls: they may have run since', async () => {
    for (const isLeased of [true, false]) {
      const bench = createRestartable({ atMostOnce: true })
      if (isLeased) bench.connect()
      bench.accept()
      await bench.restart()
      const [outcome] = finalsIn(
        bench.apply({ type: 'restored', callIds: atMostOnceCalls(bench.ledger()) }),
      )
      assert.equal(outcome?.code, 'AGENT_LOST')
      assert.match(outcome?.message ?? '', /restored from a backup: it may have run since/)
      assert.deepEqual(bench.disk.keys('call'), [])
      const assigned = bench.connect().filter(({ type }) => type === 'assign')
      assert.deepEqual(assigned, [], 'nothing is started twice')
    }
  })

  test('runs the others on', async () => {
    const bench = createRestartable()
    bench.accept()
    await bench.restart()
    assert.deepEqual(
      finalsIn(bench.apply({ type: 'restored', callIds: atMostOnceCalls(bench.ledger()) })),
      [],
    )
    bench.connect()
    assert.equal(bench.call()?.state, 'leased')
  })
})
