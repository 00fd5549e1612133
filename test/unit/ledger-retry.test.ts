import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Decision, decideResult, type Standing } from '../../coordinator/ledger/retry.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { createBench, outcomeIn } from '../support/ledger-bench.ts'
import { makeTerms } from '../support/ledger-words.ts'

const minute = 60_000

const standing = (over: Partial<Standing> = {}): Standing => ({
  terms: makeTerms(),
  attemptsLost: 0,
  exitRetries: 0,
  failedForMs: 0,
  pauseMs: 0,
  isAnotherAlive: false,
  isSpared: false,
  ...over,
})
const decide = (code: ErrorCode, over: Partial<Standing> = {}, started = true): Decision =>
  decideResult(standing(over), { code, started })
const again = (pauseMs: number, failedForMs: number, usesUp: boolean): Decision => ({
  kind: 'again',
  pauseMs,
  failedForMs,
  usesUp,
})
const final: Decision = { kind: 'final' }

describe('a result', () => {
  test('of the function’s own is final', () => {
    const codes = ['FINISHED', 'CALL_EXITED', 'CALL_SIGNALLED', 'CALL_OUT_OF_MEMORY'] as const
    for (const code of codes) assert.deepEqual(decide(code), final)
    for (const code of ['CALL_TIMED_OUT', 'OUTPUT_TOO_LARGE', 'COMMAND_NOT_FOUND'] as const) {
      assert.deepEqual(decide(code, { terms: makeTerms({ retryOnExit: 5 }) }), final)
    }
  })

  test('of an exit is tried again as often as asked, and never for at-most-once', () => {
    const terms = makeTerms({ retryOnExit: 2 })
    assert.deepEqual(decide('CALL_EXITED', { terms, exitRetries: 1 }), again(0, 0, false))
    assert.deepEqual(decide('CALL_EXITED', { terms, exitRetries: 2 }), final)
    const once = makeTerms({ retryOnExit: 2, atMostOnce: true })
    assert.deepEqual(decide('CALL_EXITED', { terms: once }), final)
  })

  test('of the platform is tried again while attempts are left, and its 5 min begin anew', () => {
    assert.deepEqual(decide('AGENT_LOST', { failedForMs: 4 * minute }), again(250, 0, true))
    assert.deepEqual(decide('AGENT_LOST', { attemptsLost: 2 }), final)
    const once = makeTerms({ atMostOnce: true })
    assert.deepEqual(decide('AGENT_LOST', { terms: once }), final)
  })

  test('of an attempt that is counted already, or whose agent leaves, uses up nothing', () => {
    const spared = { attemptsLost: 2, isSpared: true }
    assert.deepEqual(decide('AGENT_LOST', spared), again(250, 0, false))
  })

  test('that nothing started is tried again for 5 min on end, also for at-most-once', () => {
    const terms = makeTerms({ atMostOnce: true })
    const over = { pauseMs: 250, attemptsLost: 2, terms }
    const failedForMs = 5 * minute - 1
    assert.deepEqual(
      decide('START_FAILED', { ...over, failedForMs }, false),
      again(500, failedForMs, false),
    )
    assert.deepEqual(decide('START_FAILED', { ...over, failedForMs: 5 * minute }, false), final)
  })

  test('is followed by a pause that doubles up to 30 s', () => {
    const pauses: number[] = []
    for (let pauseMs = 0; pauses.length < 9; ) {
      const decision = decide('PULL_FAILED', { pauseMs }, false)
      pauseMs = decision.kind === 'again' ? decision.pauseMs : -1
      pauses.push(pauseMs)
    }
    assert.deepEqual(pauses, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
  })

  test('that policy would retry ends only its attempt while another one is alive', () => {
    const terms = makeTerms({ retryOnExit: 1 })
    const over = { isAnotherAlive: true, terms }
    assert.deepEqual(decide('CALL_EXITED', over), { kind: 'attempt-only' })
    assert.deepEqual(decide('AGENT_LOST', over), { kind: 'attempt-only' })
    assert.deepEqual(decide('FINISHED', over), final)
    assert.deepEqual(decide('CALL_EXITED', { isAnotherAlive: true }), final)
  })
})

describe('a call', () => {
  test('whose function exits is run again at once, then takes the exit', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept({ retryOnExit: 1 })
    bench.end('one', bench.keyOf(call), 'CALL_EXITED')
    assert.equal(bench.keyOf(call).attempt, 2)
    const outcome = outcomeIn(bench.end('one', bench.keyOf(call), 'CALL_EXITED'), call)
    assert.deepEqual([outcome?.code, outcome?.exitCode], ['CALL_EXITED', 1])
  })

  test('that cannot be started fails after 5 min of trying', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    let failedAtMs = 0
    for (let ms = 0; failedAtMs === 0 && ms < 10 * minute; ms += 1_000) {
      if (call.state === 'leased') {
        const effects = bench.end('one', bench.keyOf(call), 'PULL_FAILED', { started: false })
        if (outcomeIn(effects, call) !== undefined) failedAtMs = ms
      }
      bench.pass(1_000)
    }
    assert.ok(failedAtMs >= 5 * minute && failedAtMs < 6 * minute, `${failedAtMs}`)
  })

  test('set aside lets later ones pass, and returns to its place', () => {
    const bench = createBench(1)
    bench.connect('one')
    const first = bench.accept()
    const other = bench.accept()
    const third = bench.accept()
    bench.end('one', bench.keyOf(first), 'START_FAILED', { started: false })
    assert.deepEqual([first.state, other.state], ['aside', 'leased'])
    bench.pass(1_000)
    bench.end('one', bench.keyOf(other))
    assert.deepEqual([first.state, third.state], ['leased', 'queued'])
  })

  test('that a draining agent hands back has used up no attempt', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept({ maxAttempts: 1 })
    bench.apply({ type: 'draining', agentId: 'one', draining: true })
    bench.connect('two')
    bench.end('one', bench.keyOf(call), 'AGENT_LOST')
    bench.pass(1_000)
    assert.equal(bench.leaseOf(call)?.agentId, 'two')
  })
})
