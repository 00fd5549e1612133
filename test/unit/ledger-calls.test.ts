/** Transitions that the table does not have, removal while leases stand, the last member's leaving. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setState } from '../../coordinator/ledger/calls.ts'
import { markOver, markSilent } from '../../coordinator/ledger/leases.ts'
import { createBench, outcomeIn } from '../support/ledger-bench.ts'
import { makeHello } from '../support/ledger-words.ts'

describe('a transition that may not be', () => {
  test('of a call is a failed assertion', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.start('one', call)
    assert.throws(() => setState(bench.ledger, call, 'leased'), /a call goes from running to/)
    bench.end('one', bench.keyOf(call))
    assert.equal(call.state, 'ended')
    for (const state of ['queued', 'aside', 'leased', 'running', 'ended'] as const) {
      assert.throws(() => setState(bench.ledger, call, state), /a call goes from ended to ,/)
    }
  })

  test('of a lease is a failed assertion', () => {
    const bench = createBench()
    bench.connect('one')
    const lease = bench.leaseOf(bench.accept())
    assert.ok(lease !== undefined)
    assert.throws(() => markSilent(lease, 0), /may run again is lost/)
    markOver(lease)
    assert.throws(() => markOver(lease), /a call ends once/)
  })

  test('of a session is a failed assertion', () => {
    const bench = createBench()
    bench.connect('one')
    bench.connect('one')
    const event = { type: 'connect', agentId: 'one', name: 'one', session: 2 } as const
    assert.throws(() => bench.apply({ ...event, hello: makeHello() }), /a higher number/)
  })
})

describe('the removal of a function and its account', () => {
  test('holds the slot until the container is gone, and drops what comes late', () => {
    const bench = createBench(1)
    bench.connect('one', { slots: 1 })
    const call = bench.accept()
    const key = bench.keyOf(call)
    const effects = bench.apply({ type: 'remove-func', funcId: 'f1' })
    assert.equal(outcomeIn(effects, call)?.code, 'CALL_CANCELLED')
    bench.apply({ type: 'remove-account', accountId: 'a1' })
    const other = bench.accept({ accountId: 'a2', funcId: 'f2' })
    assert.equal(other.state, 'queued', 'the slot is held')
    assert.equal(outcomeIn(bench.end('one', key), call), undefined)
    assert.equal(other.state, 'leased')
  })

  test('is a bug while a call of it runs', () => {
    const bench = createBench()
    bench.connect('one')
    bench.accept()
    const remove = { type: 'remove-account', accountId: 'a1' } as const
    assert.throws(() => bench.apply(remove), /an account without calls/)
  })

  test('leaves no turn of an account behind that waited for room', () => {
    const bench = createBench()
    const call = bench.accept()
    bench.cancel(call)
    bench.apply({ type: 'remove-account', accountId: 'a1' })
    bench.connect('one')
    assert.equal(bench.accept({ accountId: 'a2', funcId: 'f2' }).state, 'leased')
  })
})

test('payloads of calls that hold leases count for their account, until the calls end', () => {
  const bench = createBench(1)
  bench.connect('one')
  const [first] = [bench.accept(), bench.accept()]
  const bytes = (): number | undefined => bench.ledger.accounts.get('a1')?.payloadBytes
  assert.equal(bytes(), 20)
  bench.end('one', bench.keyOf(first))
  assert.equal(bytes(), 10)
})

test('a call that no member could run waits in its place when the last member has left', () => {
  const bench = createBench()
  bench.connect('one')
  const call = bench.accept({ platforms: ['linux/riscv64'] })
  assert.equal(call.state, 'aside')
  bench.apply({ type: 'forget', agentId: 'one', reason: '' })
  assert.equal(call.state, 'queued')
})

test('time that a call waits in the queue between failed starts is no time of failing', () => {
  const bench = createBench()
  bench.connect('one')
  const call = bench.accept()
  const fail = () => bench.end('one', bench.keyOf(call), 'START_FAILED', { started: false })
  fail()
  bench.quota('a1', 0)
  bench.pass(3_600_000)
  bench.quota('a1', 1)
  assert.equal(call.state, 'leased')
  assert.equal(outcomeIn(fail(), call), undefined)
  assert.equal(call.state, 'aside')
})
