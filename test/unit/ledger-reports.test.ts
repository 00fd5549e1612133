import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { heardOf } from '../../coordinator/ledger/delay.ts'
import { attemptName } from '../../protocol/call.ts'
import { createBench, EPOCH, ordersIn, outcomeIn } from '../support/ledger-bench.ts'
import { makeHello } from '../support/ledger-words.ts'

const second = 1_000
/** Longer than a first lease holds, shorter than two. */
const SILENCE_MS = 25 * second

describe('an attempt that is reported', () => {
  test('is kept while leased, cancelled after the end, cancelled for a newer one', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const old = bench.keyOf(call)
    const attempts = [{ key: old, running: true }]
    assert.equal(bench.connect('one', { attempts }).get(attemptName(old)), 'keep')
    assert.equal(call.state, 'running')
    bench.disconnect('one')
    bench.connect('two')
    bench.pass(SILENCE_MS)
    assert.equal(bench.keyOf(call).attempt, 2)
    assert.equal(bench.connect('one', { attempts }).get(attemptName(old)), 'cancel')
    assert.deepEqual(ordersIn(bench.heartbeat('one', [old]), 'cancel'), [['one', old]])
    bench.cancel(call)
    assert.equal(bench.connect('one', { attempts }).get(attemptName(old)), 'cancel')
  })

  test('is dropped or cancelled where it was never granted to that agent', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const key = bench.keyOf(call)
    const foreign = { ...key, epoch: EPOCH - 1 }
    const verdicts = bench.connect('thief', {
      attempts: [{ key: foreign, running: true }],
      outbox: [key],
    })
    assert.equal(verdicts.get(attemptName(key)), 'drop')
    assert.equal(verdicts.get(attemptName(foreign)), 'cancel')
    assert.equal(outcomeIn(bench.end('thief', key), call), undefined)
    assert.equal(outcomeIn(bench.end('one', foreign), call), undefined)
    assert.equal(call.state, 'leased')
  })

  test('never started where an agent with the same store does not name it', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.connect('one')
    assert.equal(bench.keyOf(call).attempt, 2)
    assert.equal(call.attemptsLost, 0)
    assert.equal(call.granted.length, 1)
  })

  test('is lost where the agent has lost its store', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.connect('one', { storeId: 'another' })
    assert.equal(bench.keyOf(call).attempt, 2)
    assert.equal(call.attemptsLost, 1)
  })

  test('stands where a hello does not name it that was said before it, and heard after', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const { attempt } = bench.keyOf(call)
    let session = 9
    const connect = (isStale: boolean, isCopy = isStale): void => {
      session += 1
      const hello = makeHello({})
      const event = { type: 'connect', agentId: 'one', name: 'one', session, hello } as const
      bench.apply({ ...event, isStale, isCopy })
    }
    connect(true)
    assert.equal(bench.keyOf(call).attempt, attempt)
    assert.equal(bench.ledger.leases.size, 1)
    // Nor does what the same copy of the store says next prove anything of it …
    connect(false)
    assert.equal(bench.keyOf(call).attempt, attempt)
    assert.equal(call.state, 'leased')
    // … but of what was granted since.
    const later = bench.accept()
    connect(false)
    assert.deepEqual([bench.keyOf(call).attempt, bench.keyOf(later).attempt], [attempt, 2])
    bench.pass(SILENCE_MS)
    assert.equal(call.attemptsLost, 1)
  })

  test('is proven never to have started by the next hello of the process whose late one was heard', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const event = { type: 'connect', agentId: 'one', name: 'one', hello: makeHello({}) } as const
    bench.apply({ ...event, session: 9, isStale: true, isCopy: false })
    assert.equal(bench.keyOf(call).attempt, 1)
    bench.apply({ ...event, session: 10 })
    assert.deepEqual([bench.keyOf(call).attempt, call.attemptsLost], [2, 0])
  })

  test('refused: it counts for nothing, and the agent is offered nothing for a while', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.refuse('one', call)
    assert.equal(call.state, 'queued')
    assert.deepEqual([call.attemptsLost, call.granted.length], [0, 0])
    bench.pass(second)
    assert.equal(call.state, 'leased')
  })

  test('refused after its lease was lost: nothing waits for it', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const key = bench.keyOf(call)
    bench.quota('a1', 0)
    bench.pass(SILENCE_MS)
    bench.heartbeat('one', [key])
    assert.equal(heardOf(call).length, 1)
    bench.apply({ type: 'refused', agentId: 'one', key, message: 'no room' })
    assert.deepEqual([heardOf(call).length, call.granted.length, call.attemptsLost], [0, 0, 0])
  })

  test('as ended is waited for: nothing is started before its result comes', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const key = bench.keyOf(call)
    bench.disconnect('one')
    bench.pass(SILENCE_MS)
    const effects = bench.connect('one', { outbox: [key] })
    assert.equal(effects.get(attemptName(key)), 'commit')
    assert.deepEqual(bench.keyOf(call), key)
    assert.equal(outcomeIn(bench.end('one', key), call)?.state, 'finished')
  })

  test('as never started after it was counted as lost counts for nothing again', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const key = bench.keyOf(call)
    bench.quota('a1', 0)
    bench.pass(SILENCE_MS)
    assert.equal(call.attemptsLost, 1)
    bench.end('one', key, 'START_FAILED', { started: false })
    assert.deepEqual([call.attemptsLost, call.granted.length], [0, 0])
  })

  test('stays reported when the end of an earlier session is told late', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.connect('one', { attempts: [{ key: bench.keyOf(call), running: true }] })
    bench.apply({ type: 'disconnect', agentId: 'one', session: 1 })
    assert.equal(bench.ledger.agents.get('one')?.session, 2)
  })
})
