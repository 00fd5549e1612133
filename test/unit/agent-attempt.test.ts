/** The agent's step function, by example and under any order of events. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { AgentEffect, AgentEvent } from '../../agent/agent-events.ts'
import { freeRoom, initialState, reportOf, withoutAttempt } from '../../agent/agent-state.ts'
import { step } from '../../agent/attempt.ts'
import { attemptName } from '../../protocol/call.ts'
import { limits } from '../../protocol/limits.ts'
import {
  assignmentOf,
  createModel,
  keyOf,
  type Model,
  result,
  room,
} from '../support/agent-model.ts'

const number = fc.integer({ min: 1, max: 6 })
const move = fc.oneof(
  { weight: 4, arbitrary: number.map((n) => (model: Model) => model.assign(n)) },
  { weight: 8, arbitrary: fc.nat(9).map((at) => (model: Model) => model.advance(at)) },
  { weight: 3, arbitrary: number.map((n) => (model: Model) => model.acknowledge(n)) },
  {
    weight: 2,
    arbitrary: number.map((n) => (model: Model) => model.order({ type: 'cancel', key: keyOf(n) })),
  },
  { weight: 1, arbitrary: fc.constant((model: Model) => model.welcome()) },
  { weight: 1, arbitrary: fc.constant((model: Model) => model.dispatch({ type: 'disconnected' })) },
  {
    weight: 1,
    arbitrary: number.map(
      (n) => (model: Model) => model.dispatch({ type: 'overfilled', key: keyOf(n) }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .boolean()
      .map((draining) => (model: Model) => model.dispatch({ type: 'drain', draining })),
  },
  { weight: 1, arbitrary: fc.constant((model: Model) => model.dispatch({ type: 'leave' })) },
  {
    weight: 1,
    arbitrary: number.map(
      (n) => (model: Model) =>
        model.order({ type: 'assign', session: 9999, assignment: assignmentOf(n) }),
    ),
  },
)

test('whatever the order of events, every assignment is answered and nothing is left', () => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 80 }), (moves) => {
      const model = createModel()
      model.welcome()
      for (const perform of moves) perform(model)
      for (let left = 0; left < 100 && model.pending.length > 0; left++) model.advance(0)
      assert.equal(model.pending.length, 0)
      model.welcome()
      for (let n = 1; n <= 6; n++) model.acknowledge(n)
      assert.equal(model.state().attempts.size, 0, 'an attempt is left')
      assert.deepEqual(freeRoom(model.state()), room)
      for (const name of model.runs) {
        // A `gone` that was lost with its session is told by the next hello, which names nothing.
        assert.ok(model.assigned.has(name), 'ran what was not assigned')
      }
      assert.deepEqual(reportOf(model.state()), { attempts: [], outbox: [] })
    }),
    { numRuns: 2000 },
  )
})

test('while the session lasts every assignment ends in refused, result or gone', () => {
  const inSession = fc.oneof(
    { weight: 4, arbitrary: number.map((n) => (model: Model) => model.assign(n)) },
    { weight: 6, arbitrary: fc.nat(9).map((at) => (model: Model) => model.advance(at)) },
    {
      weight: 2,
      arbitrary: number.map(
        (n) => (model: Model) => model.order({ type: 'cancel', key: keyOf(n) }),
      ),
    },
  )
  fc.assert(
    fc.property(fc.array(inSession, { maxLength: 60 }), (moves) => {
      const model = createModel()
      model.welcome()
      for (const perform of moves) perform(model)
      for (let left = 0; left < 100 && model.pending.length > 0; left++) model.advance(0)
      for (const name of model.assigned) assert.ok(model.answered.has(name), `${name}: no answer`)
    }),
    { numRuns: 1000 },
  )
})

const drainingSaid = (draining: boolean) => ({
  type: 'send' as const,
  message: { type: 'draining' as const, session: 1, draining },
})

test('a drain that ended while nobody had welcomed us is told with the welcome', () => {
  const hello = step(initialState({ room, epoch: 1, adopted: [], outbox: [] }), {
    ...{ type: 'drain', draining: true },
  })
  const { state, effects } = step(hello.state, { type: 'drain', draining: false })
  assert.deepEqual([...hello.effects, ...effects], [])
  const welcome = { type: 'welcomed', session: 1, epoch: 1, verdicts: [] } as const
  assert.deepEqual(step(state, welcome).effects, [drainingSaid(false)])
  assert.deepEqual(step(hello.state, welcome).effects, [drainingSaid(true)])
})

test('orders of a lower epoch are ignored, and so is a coordinator that has one', () => {
  let state = initialState({ room, epoch: 5, adopted: [], outbox: [] })
  const lower = step(state, { type: 'welcomed', session: 1, epoch: 4, verdicts: [] })
  assert.deepEqual(lower.effects, [{ type: 'disconnect' }])
  assert.equal(lower.state.session, null)
  const higher = step(state, { type: 'welcomed', session: 1, epoch: 6, verdicts: [] })
  assert.deepEqual([higher.effects, higher.state.epoch], [[drainingSaid(false)], 6])
  state = higher.state
  const assignment = assignmentOf(1)
  const order = { type: 'assign', session: 1, epoch: 5, assignment } as const
  assert.deepEqual(step(state, { type: 'order', order, unfit: '' }).effects, [])
})

test('what an earlier process left is told in the hello, and settled by the verdicts', () => {
  const [running, cancelled, kept, dropped] = [1, 2, 3, 4].map(keyOf)
  assert.ok(running && cancelled && kept && dropped)
  const state = initialState({
    ...{ room, epoch: 1 },
    adopted: [running, cancelled].map((key) => ({ key, memoryBytes: 100 })),
    outbox: [kept, dropped],
  })
  assert.deepEqual(reportOf(state).outbox, [kept, dropped])
  const { effects, state: next } = step(state, {
    ...{ type: 'welcomed', session: 1, epoch: 1 },
    verdicts: [
      { key: running, verdict: 'keep' },
      { key: cancelled, verdict: 'cancel' },
      { key: kept, verdict: 'commit' },
      { key: dropped, verdict: 'drop' },
    ],
  })
  assert.deepEqual(effects, [
    drainingSaid(false),
    { type: 'stop', key: cancelled, reason: 'cancel' },
    { type: 'delete', key: dropped },
    { type: 'report', key: kept, session: 1 },
  ])
  assert.deepEqual([...next.attempts.keys()], [running, cancelled, kept].map(attemptName))
})

test('an attempt that is over never runs again, and is not said never to have run', () => {
  const key = keyOf(1)
  const order = { session: 1, epoch: 1 } as const
  const assign = { type: 'assign', ...order, assignment: assignmentOf(1) } as const
  const run = (events: readonly AgentEvent[]): readonly AgentEffect[] => {
    let state = initialState({ room, epoch: 1, adopted: [], outbox: [] })
    let effects: readonly AgentEffect[] = []
    for (const event of [{ type: 'welcomed', ...order, verdicts: [] } as const, ...events]) {
      const stepped = step(state, event)
      state = stepped.state
      effects = stepped.effects
    }
    return effects
  }
  const told = { type: 'order', order: assign, unfit: '' } as const
  const acknowledge = { type: 'acknowledge', ...order, key } as const
  const cancel = { type: 'cancel', ...order, key } as const
  const gone = { type: 'removed', key } as const
  assert.deepEqual(
    run([
      ...[told, { type: 'ended', key, result } as const, { type: 'written', key } as const, gone],
      ...[{ type: 'order', order: acknowledge, unfit: '' } as const, told],
    ]),
    [],
  )
  assert.deepEqual(
    run([
      ...[told, { type: 'order', order: cancel, unfit: '' } as const],
      ...[{ type: 'ended', key, result: null } as const, gone, told],
    ]),
    [],
  )
})

test('one that filled the disk is stopped, and removed without waiting for its result', () => {
  const key = keyOf(1)
  const order = { session: 1, epoch: 1 } as const
  const assign = { type: 'assign', ...order, assignment: assignmentOf(1) } as const
  let state = initialState({ room, epoch: 1, adopted: [], outbox: [] })
  const tell = (event: AgentEvent): readonly AgentEffect[] => {
    const stepped = step(state, event)
    state = stepped.state
    return stepped.effects
  }
  const types = (event: AgentEvent): string[] => tell(event).map(({ type }) => type)
  tell({ type: 'welcomed', ...order, verdicts: [] })
  tell({ type: 'order', order: assign, unfit: '' })
  assert.deepEqual(types({ type: 'overfilled', key }), [], 'it has written nothing yet')
  tell({ type: 'started', key })
  assert.deepEqual(tell({ type: 'overfilled', key }), [{ type: 'stop', key, reason: 'disk' }])
  const full = { ...result, code: 'CALL_DISK_FULL' } as const
  assert.deepEqual(types({ type: 'ended', key, result: full }), ['remove', 'write', 'report'])
  assert.deepEqual(types({ type: 'overfilled', key }), [])
  // A second removal would be told that the first is on its way, and count as done.
  assert.deepEqual(types({ type: 'written', key }), [])
  tell({ type: 'removed', key })
  const acknowledge = { type: 'acknowledge', ...order, key } as const
  assert.deepEqual(types({ type: 'order', order: acknowledge, unfit: '' }), ['delete'])
  assert.equal(state.attempts.size, 0)
})

test('the names of so many past attempts are kept', () => {
  let state = initialState({ room, epoch: 1, adopted: [], outbox: [] })
  for (let number = 0; number < limits.pastAttemptsMax + 5; number++) {
    state = withoutAttempt(state, `${number}`)
  }
  assert.equal(state.past.size, limits.pastAttemptsMax)
  assert.ok(!state.past.has('4') && state.past.has('5'))
})

test('a drain by the coordinator ends with its session, one by the agent does not', () => {
  const order = { session: 1, epoch: 1 } as const
  const again = { type: 'welcomed', session: 2, epoch: 1, verdicts: [] } as const
  const assign = { type: 'assign', session: 2, epoch: 1, assignment: assignmentOf(1) } as const
  const answerAfter = (events: readonly AgentEvent[]): string => {
    let state = initialState({ room, epoch: 1, adopted: [], outbox: [] })
    const all = [{ type: 'welcomed', ...order, verdicts: [] } as const, ...events, again]
    for (const event of all) state = step(state, event).state
    const [first] = step(state, { type: 'order', order: assign, unfit: '' }).effects
    return first?.type ?? ''
  }
  const drained = { type: 'drain', ...order, draining: true } as const
  assert.equal(
    answerAfter([{ type: 'order', order: drained, unfit: '' }, { type: 'disconnected' }]),
    'run',
  )
  assert.equal(answerAfter([{ type: 'drain', draining: true }, { type: 'disconnected' }]), 'send')
})
