import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createBench, outcomeIn } from '../support/ledger-bench.ts'

const minute = 60_000

describe('an at-most-once call', () => {
  const begin = () => {
    const bench = createBench(1)
    bench.connect('one')
    const call = bench.accept({ atMostOnce: true })
    bench.disconnect('one')
    bench.connect('two')
    return { bench, call }
  }

  test('keeps lease and quota while its agent is silent, then fails', () => {
    const { bench, call } = begin()
    const other = bench.accept()
    assert.equal(outcomeIn(bench.pass(10 * minute), call), undefined)
    assert.equal(call.state, 'leased')
    assert.equal(other.state, 'queued')
    const effects = bench.pass(minute)
    assert.equal(outcomeIn(effects, call)?.code, 'AGENT_LOST')
    assert.equal(other.state, 'leased')
  })

  test('takes the result of its agent when it comes back in time', () => {
    const { bench, call } = begin()
    const key = bench.keyOf(call)
    bench.pass(9 * minute)
    bench.connect('one', { outbox: [key] })
    assert.equal(outcomeIn(bench.end('one', key), call)?.state, 'finished')
  })

  test('waits anew after it was heard of', () => {
    const { bench, call } = begin()
    const key = bench.keyOf(call)
    bench.pass(9 * minute)
    bench.connect('one', { attempts: [{ key, running: true }] })
    bench.disconnect('one')
    bench.pass(10 * minute)
    assert.equal(call.state, 'running')
  })

  test('is not failed for an absence of the coordinator', () => {
    const { bench, call } = begin()
    bench.pass(minute)
    bench.away(60 * minute)
    bench.pass(9 * minute)
    assert.equal(call.state, 'leased')
    assert.equal(outcomeIn(bench.pass(3 * minute), call)?.code, 'AGENT_LOST')
  })

  test('is started again only where it never started', () => {
    const { bench, call } = begin()
    bench.connect('one')
    assert.equal(bench.keyOf(call).attempt, 2)
  })

  test('fails at once where its agent has lost its store', () => {
    const { bench, call } = begin()
    bench.connect('one', { storeId: 'another' })
    assert.equal(bench.ledger.calls.has(call.id), false)
    assert.equal(bench.ledger.leases.size, 0)
  })

  test('is not retried after it started, whatever became of it', () => {
    for (const code of ['CALL_EXITED', 'AGENT_LOST'] as const) {
      const { bench, call } = begin()
      const key = bench.keyOf(call)
      bench.connect('one', { attempts: [{ key, running: true }] })
      assert.equal(outcomeIn(bench.end('one', key, code), call)?.code, code)
    }
  })
})
