import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Effect } from '../../coordinator/ledger/state.ts'
import { attemptName } from '../../protocol/call.ts'
import { limits } from '../../protocol/limits.ts'
import { createBench, ordersIn, outcomeIn } from '../support/ledger-bench.ts'
import { outputOf } from '../support/ledger-words.ts'

const second = 1_000
const kinds = (effects: readonly Effect[]): string[] => effects.map((effect) => effect.type)

describe('cancel', () => {
  test('ends the call at once and frees quota and slot when the container is gone', () => {
    const bench = createBench(1)
    bench.connect('one')
    const call = bench.accept()
    const next = bench.accept()
    const key = bench.keyOf(call)
    const effects = bench.cancel(call)
    assert.equal(outcomeIn(effects, call)?.state, 'cancelled')
    assert.deepEqual(ordersIn(effects, 'cancel'), [['one', key]])
    assert.equal(next.state, 'queued')
    bench.apply({ type: 'gone', agentId: 'one', key })
    assert.equal(next.state, 'leased')
  })

  test('and every other end leaves a history row in its bound, whatever the message', () => {
    for (const piece of ['x', '\u0000', '"', '\ud800', '\u2028', '𝄞']) {
      const bench = createBench(1)
      bench.connect('one')
      const call = bench.accept()
      const key = bench.keyOf(call)
      const effects = bench.apply({ type: 'unassignable', key, message: piece.repeat(5_000) })
      const [row] = effects.flatMap((effect) => (effect.type === 'ended' ? [effect.row] : []))
      assert.ok(row !== undefined)
      assert.ok(row.outcome.message.startsWith(piece.repeat(50)))
      assert.ok(Buffer.byteLength(JSON.stringify(row)) <= limits.historyRowBytesMax)
    }
  })

  test('frees quota and slot when the lease ends, at the latest', () => {
    const bench = createBench(1)
    bench.connect('one')
    const call = bench.accept()
    const next = bench.accept()
    bench.cancel(call)
    bench.pass(21 * second)
    assert.equal(next.state, 'queued')
    bench.pass(2 * second)
    assert.equal(next.state, 'leased')
  })

  test('is told at the next hello to an agent that is away', () => {
    const bench = createBench(1)
    bench.connect('one')
    const call = bench.accept()
    const key = bench.keyOf(call)
    bench.disconnect('one')
    assert.deepEqual(ordersIn(bench.cancel(call), 'cancel'), [])
    const attempts = [{ key, running: true }]
    assert.equal(bench.connect('one', { attempts }).get(attemptName(key)), 'cancel')
    assert.equal(bench.ledger.leases.size, 1)
    bench.apply({ type: 'gone', agentId: 'one', key })
    assert.equal(bench.ledger.leases.size, 0)
  })

  test('reaches calls that wait and those of a removed function', () => {
    const bench = createBench(1)
    const first = bench.accept()
    const other = bench.accept()
    assert.equal(outcomeIn(bench.cancel(other), other)?.state, 'cancelled')
    const effects = bench.apply({ type: 'remove-func', funcId: 'f1' })
    assert.equal(outcomeIn(effects, first)?.state, 'cancelled')
    assert.equal(bench.ledger.accounts.get('a1')?.queue.head(), undefined)
  })
})

describe('a synchronous call’s body', () => {
  const finish = () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept({}, true)
    const key = bench.keyOf(call)
    return { bench, call, key, effects: bench.end('one', key) }
  }

  test('is owed to its client, and acknowledged once delivered', () => {
    const { bench, call, key, effects } = finish()
    assert.deepEqual(ordersIn(effects, 'acknowledge'), [])
    const told = bench.apply({ type: 'delivered', callId: call.id })
    assert.deepEqual(ordersIn(told, 'acknowledge'), [['one', key]])
    assert.ok(kinds(told).includes('output-gone'))
    assert.deepEqual(bench.apply({ type: 'delivered', callId: call.id }), [])
  })

  test('is written where the delivery failed, and acknowledged only with that write', () => {
    const { bench, call, key } = finish()
    const told = bench.apply({ type: 'undelivered', callId: call.id, body: outputOf(key) })
    assert.deepEqual(kinds(told), ['keep-output', 'send'])
  })

  test('is written when it is reported again, and dropped once it was delivered', () => {
    const { bench, call, key } = finish()
    assert.equal(bench.connect('one', { outbox: [key] }).get(attemptName(key)), 'commit')
    const told = bench.end('one', key)
    assert.deepEqual(kinds(told), ['keep-output', 'send'])
    assert.deepEqual(bench.apply({ type: 'delivered', callId: call.id }), [])
    assert.equal(bench.connect('one', { outbox: [key] }).get(attemptName(key)), 'drop')
  })

  test('goes to the cache at once where its client went away before the end', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept({}, true)
    bench.apply({ type: 'undelivered', callId: call.id, body: new Uint8Array() })
    const effects = bench.end('one', bench.keyOf(call))
    const ended = effects.find((effect) => effect.type === 'ended')
    assert.equal(ended?.type === 'ended' && ended.isOwed, false)
    assert.equal(ordersIn(effects, 'acknowledge').length, 1)
  })
})

describe('the end of a call', () => {
  test('keeps the whole message in the body and a short one in the history row', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const message = 'x'.repeat(4_000)
    const stderr = new TextEncoder().encode('stack trace')
    const effects = bench.end('one', bench.keyOf(call), 'CALL_SIGNALLED', { message, stderr })
    const ended = effects.find((effect) => effect.type === 'ended')
    assert.ok(ended?.type === 'ended')
    assert.equal(new TextDecoder().decode(ended.body), `${message}\nstack trace`)
    assert.ok(JSON.stringify(ended.row).length < 1024)
  })
})

describe('a coordinator', () => {
  test('that was away for over 5 s counts no silence, and a shorter stall counts', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.away(3600 * second)
    assert.equal(call.state, 'leased')
    bench.pass(21 * second)
    assert.equal(call.state, 'leased')
    bench.pass(2 * second)
    assert.equal(call.attemptsLost, 1)
  })
})
