/** Who is offered calls, who is suspect, and what becomes of the calls of one that is sent away. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { conditionOf } from '../../coordinator/agent-view.ts'
import { limits } from '../../protocol/limits.ts'
import { createBench, outcomeIn } from '../support/ledger-bench.ts'
import { checkBooks } from '../support/ledger-invariants.ts'

const NOTHING = { absence: null, isEpochAhead: false }

const conditionIn = (bench: ReturnType<typeof createBench>, agentId: string) =>
  conditionOf({}, bench.ledger.agents.get(agentId), NOTHING, bench.ledger.lastTickMs)

describe('a silent agent', () => {
  test('is suspect within 3 s while it holds leases, and is offered nothing until it is heard', () => {
    const bench = createBench()
    bench.connect('one')
    const held = bench.accept()
    bench.start('one', held)
    bench.pass(limits.suspectBusyMs, true)
    assert.equal(conditionIn(bench, 'one').state, 'alive')
    bench.pass(limits.tickMs, true)
    assert.deepEqual(conditionIn(bench, 'one'), { state: 'suspect', reason: 'not heard for 2.8 s' })
    assert.ok(limits.suspectBusyMs + 2 * limits.tickMs <= 3000)
    const waiting = bench.accept()
    assert.equal(waiting.state, 'queued')
    bench.heartbeat('one', [bench.keyOf(held)])
    assert.equal(conditionIn(bench, 'one').state, 'alive')
    assert.equal(waiting.state, 'leased')
    assert.equal(held.state, 'running', 'being suspect loses no attempt')
    checkBooks(bench.ledger)
  })

  test('may be silent for longer where it holds nothing; from its first lease on it counts anew', () => {
    const bench = createBench()
    bench.connect('one')
    bench.pass(limits.suspectIdleMs - 1000, true)
    assert.equal(conditionIn(bench, 'one').state, 'alive')
    const call = bench.accept()
    assert.equal(call.state, 'leased')
    bench.pass(limits.suspectBusyMs, true)
    assert.equal(conditionIn(bench, 'one').state, 'alive')
    bench.pass(limits.tickMs, true)
    assert.equal(conditionIn(bench, 'one').state, 'suspect')
    const idle = createBench()
    idle.connect('two')
    idle.pass(limits.suspectIdleMs + limits.tickMs, true)
    assert.equal(conditionIn(idle, 'two').state, 'suspect')
  })

  test('is heard by whatever it says of its attempts', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.pass(limits.suspectBusyMs + limits.tickMs, true)
    assert.equal(conditionIn(bench, 'one').state, 'suspect')
    bench.start('one', call)
    assert.equal(conditionIn(bench, 'one').state, 'alive')
  })
})

describe('an agent that is no member any more', () => {
  const forget = (bench: ReturnType<typeof createBench>) =>
    bench.apply({ type: 'forget', agentId: 'one', reason: 'removed by the operator' })

  test('gives up its leases at once: its calls run elsewhere', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.start('one', call)
    bench.connect('two')
    forget(bench)
    assert.equal(call.state, 'leased')
    assert.equal(bench.leaseOf(call)?.agentId, 'two')
    assert.equal(call.attemptsLost, 1)
    assert.equal(bench.ledger.leases.size, 1)
    assert.ok(!bench.ledger.agentLeases.has('one'))
    checkBooks(bench.ledger)
  })

  test('fails the at-most-once calls that it ran, and says why', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept({ atMostOnce: true })
    bench.start('one', call)
    bench.connect('two')
    const outcome = outcomeIn(forget(bench), call)
    assert.equal(outcome?.code, 'AGENT_LOST')
    assert.match(outcome?.message ?? '', /^agent lost: one: removed by the operator/)
    assert.equal(bench.ledger.leases.size, 0)
    assert.equal(bench.ledger.accounts.get('a1')?.leases, 0)
  })

  test('gives up what it still held of calls that have ended', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.start('one', call)
    bench.cancel(call)
    assert.equal(bench.ledger.leases.size, 1)
    forget(bench)
    assert.equal(bench.ledger.leases.size, 0)
    checkBooks(bench.ledger)
  })

  test('of which only leases are known, gives them up as well', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept({ maxAttempts: 1 })
    bench.start('one', call)
    bench.ledger.agents.delete('one')
    forget(bench)
    assert.equal(bench.ledger.leases.size, 0)
  })
})
