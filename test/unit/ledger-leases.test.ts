import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { leaseEndMs, leaseLengthMs } from '../../coordinator/ledger/leases.ts'
import { attemptName } from '../../protocol/call.ts'
import { createBench, ordersIn, outcomeIn } from '../support/ledger-bench.ts'

const second = 1_000
const minute = 60 * second
/** Longer than a first lease holds, shorter than two. */
const SILENCE_MS = 25 * second

describe('a lease', () => {
  test('is as long as the attempt has run, from 15 s to 10 min', () => {
    assert.equal(leaseLengthMs(0), 15 * second)
    assert.equal(leaseLengthMs(15 * second), 15 * second)
    assert.equal(leaseLengthMs(3 * minute), 3 * minute)
    assert.equal(leaseLengthMs(40 * 24 * 60 * minute), 10 * minute)
  })

  test('is lost 10 % and 5 s after its length', () => {
    assert.equal(
      Math.round(leaseEndMs({ renewedMs: second, lengthMs: 100 * second })),
      116 * second,
    )
  })

  test('holds through silence of its length, and not longer', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.disconnect('one')
    bench.pass(21.5 * second)
    assert.equal(call.state, 'leased')
    bench.pass(second)
    assert.equal(call.state, 'queued')
    assert.equal(call.attemptsLost, 1)
  })

  test('grows with the attempt that is heard of', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    for (let beat = 0; beat < 100; beat += 1) {
      bench.pass(second)
      bench.heartbeat('one', [bench.keyOf(call)])
    }
    bench.disconnect('one')
    bench.pass(115 * second)
    assert.equal(call.state, 'leased')
    bench.pass(second)
    assert.equal(call.state, 'queued')
  })
})

describe('an attempt whose result is on its way', () => {
  test('keeps its lease for as long as that takes, and then ends', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const key = bench.keyOf(call)
    for (let looks = 0; looks < 180; looks += 1) {
      bench.pass(second)
      bench.apply({ type: 'bulk', agentId: 'one' })
    }
    assert.deepEqual([call.state, bench.keyOf(call)], ['leased', key])
    assert.equal(outcomeIn(bench.end('one', key), call)?.state, 'finished')
  })

  test('loses it where no more of that comes, however well its agent is heard', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.apply({ type: 'bulk', agentId: 'one' })
    for (let beats = 0; beats < 25; beats += 1) {
      bench.pass(second)
      bench.heartbeat('one', [])
    }
    assert.equal(call.attemptsLost, 1)
  })

  test('is given nothing by another’s', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.connect('two')
    for (let looks = 0; looks < 25; looks += 1) {
      bench.pass(second)
      bench.apply({ type: 'bulk', agentId: 'two' })
    }
    assert.equal(call.attemptsLost, 1)
  })
})

describe('a call whose attempt was lost', () => {
  test('goes back to its place, before calls that came later', () => {
    const bench = createBench(1)
    bench.connect('one')
    const first = bench.accept()
    const other = bench.accept()
    bench.disconnect('one')
    bench.pass(SILENCE_MS)
    assert.deepEqual([first.state, other.state], ['queued', 'queued'])
    bench.connect('two')
    assert.deepEqual([first.state, other.state], ['leased', 'queued'])
    assert.equal(bench.keyOf(first).attempt, 2)
  })

  test('still takes the late result of the lost attempt, and cancels the newer one', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const old = bench.keyOf(call)
    bench.disconnect('one')
    bench.connect('two')
    bench.pass(SILENCE_MS)
    const newer = bench.keyOf(call)
    assert.equal(newer.attempt, 2)
    const verdicts = bench.connect('one', { outbox: [old] })
    assert.equal(verdicts.get(attemptName(old)), 'commit')
    const effects = bench.end('one', old)
    assert.equal(outcomeIn(effects, call)?.state, 'finished')
    assert.deepEqual(ordersIn(effects, 'cancel'), [['two', newer]])
    assert.equal(bench.ledger.leases.get(attemptName(newer))?.isOver, true)
    assert.equal(bench.ledger.accounts.get('a1')?.leases, 1, 'quota is held until it is gone')
    assert.equal(outcomeIn(bench.end('two', newer), call), undefined)
    assert.equal(bench.ledger.accounts.get('a1')?.leases, 0)
  })

  test('a retryable result of the older attempt ends only that attempt', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept({ retryOnExit: 1 })
    const old = bench.keyOf(call)
    bench.disconnect('one')
    bench.connect('two')
    bench.pass(SILENCE_MS)
    bench.connect('one', { outbox: [old] })
    assert.equal(outcomeIn(bench.end('one', old, 'CALL_EXITED'), call), undefined)
    assert.equal(call.state, 'leased')
    assert.equal(call.exitRetries, 0)
    assert.equal(outcomeIn(bench.end('two', bench.keyOf(call)), call)?.state, 'finished')
  })

  test('fails once all attempts are lost', () => {
    const bench = createBench()
    const call = bench.accept({ maxAttempts: 2 })
    bench.connect('one')
    bench.disconnect('one')
    bench.pass(SILENCE_MS)
    bench.connect('two')
    bench.disconnect('two')
    assert.equal(outcomeIn(bench.pass(SILENCE_MS), call)?.code, 'AGENT_LOST')
  })

  test('waits for the attempt when it is heard of again, and leases it again in its turn', () => {
    const bench = createBench(1)
    bench.connect('one')
    const first = bench.accept()
    const old = bench.keyOf(first)
    bench.start('one', first)
    bench.disconnect('one')
    bench.quota('a1', 0)
    bench.pass(SILENCE_MS)
    const attempts = [{ key: old, running: true }]
    assert.equal(bench.connect('one', { attempts }).get(attemptName(old)), 'keep')
    bench.connect('two')
    bench.pass(10 * second)
    assert.equal(first.state, 'queued')
    const effects = bench.quota('a1', 1)
    assert.equal(first.state, 'running')
    assert.deepEqual(bench.keyOf(first), old)
    assert.equal(first.attemptsLost, 0, 'it was not lost after all')
    assert.ok(effects.every((effect) => effect.type !== 'assign'))
  })

  test('is not started elsewhere while its attempt is heard of, and is when that ends', () => {
    const bench = createBench()
    bench.connect('one', { slots: 1 })
    const call = bench.accept()
    const old = bench.keyOf(call)
    bench.disconnect('one')
    bench.quota('a1', 0)
    bench.pass(SILENCE_MS)
    bench.connect('one', { slots: 1, attempts: [{ key: old, running: true }] })
    const other = bench.accept({ accountId: 'a2', funcId: 'f2' })
    assert.equal(other.state, 'queued', 'the attempt takes its slot without a lease, too')
    bench.connect('two')
    bench.quota('a1', 1)
    assert.deepEqual(bench.keyOf(call), old)
    bench.disconnect('one')
    bench.pass(SILENCE_MS)
    assert.equal(bench.keyOf(call).attempt, 2)
  })

  test('is started elsewhere when the agent that was heard leaves before its turn', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const old = bench.keyOf(call)
    bench.disconnect('one')
    bench.quota('a1', 0)
    bench.pass(SILENCE_MS)
    bench.connect('one', { attempts: [{ key: old, running: true }] })
    bench.disconnect('one')
    bench.connect('two')
    bench.quota('a1', 1)
    assert.equal(bench.leaseOf(call)?.agentId, 'two')
  })

  test('is not leased to an attempt that was heard of and has ended since', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const old = bench.keyOf(call)
    bench.disconnect('one')
    bench.quota('a1', 0)
    bench.pass(SILENCE_MS)
    bench.connect('one', { attempts: [{ key: old, running: true }] })
    bench.end('one', old, 'AGENT_LOST')
    assert.equal(call.attemptsLost, 1, 'one attempt is counted once')
    bench.quota('a1', 1)
    assert.equal(bench.keyOf(call).attempt, 2)
  })
})
