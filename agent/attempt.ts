/**
 * What an agent does with its attempts: `step(state, event) → {state, effects}`. Pure; attempts.ts
 * performs the effects and tells what came of them.
 *
 *   (none)    assign ─► starting, or refused: draining, no room, not possible here
 *   starting  a container is being started for it
 *   running   the function's process runs
 *     both:   ended ─► ended;  cancel ─► its container is killed
 *   running   filled the disk ─► it is stopped as the function's failure, and removed at once
 *   ended     with a result: write it, report it meanwhile; written ─► remove the container;
 *             acknowledged and written ─► delete the entry. Without one (cancelled): remove.
 *   (none)    once the container is removed and nothing is owed: `gone` to a cancel, the
 *             acknowledgement of a result. An assign that names it again is not obeyed
 *
 * A container is removed only after its result is in the outbox, but for one that filled the disk: a
 * full disk takes no result. A slot is free once the result is told: what is left of the container is
 * hyper-init, which leaves when told, or after 2 s, and what the call put into files in memory. Orders of another session or of a lower epoch than any seen are ignored. Nothing ends
 * because the coordinator is away: the next welcome says what to keep, cancel, drop or commit. Its
 * order to drain holds for the session: one that is taken back while we are away is not told us.
 */

import { assertNever } from '../protocol/assert.ts'
import { type AttemptKey, type AttemptResult, attemptName } from '../protocol/call.ts'
import { limits } from '../protocol/limits.ts'
import type { Assignment, CoordinatorOrder, Verdict } from '../protocol/messages.ts'
import type { AgentEffect, AgentEvent } from './agent-events.ts'
import {
  type AgentState,
  type Attempt,
  all,
  FRESH,
  freeRoom,
  isHeld,
  isUnacknowledged,
  withoutAttempt,
} from './agent-state.ts'
import { fits } from './slots.ts'

export interface Step {
  readonly state: AgentState
  readonly effects: readonly AgentEffect[]
}

const only = (state: AgentState, ...effects: AgentEffect[]): Step => ({ state, effects })

const withAttempt = (state: AgentState, attempt: Attempt): AgentState => {
  const isDone =
    attempt.phase === 'ended' &&
    attempt.isRemoved &&
    (!attempt.hasResult || (attempt.isWritten && attempt.isAcknowledged))
  const name = attemptName(attempt.key)
  if (isDone) return withoutAttempt(state, name)
  return { ...state, attempts: new Map(state.attempts).set(name, attempt) }
}

/** Messages of no session are not sent: the next hello tells the same. */
const inSession = (
  state: AgentState,
  make: (session: number) => AgentEffect,
): readonly AgentEffect[] => (state.session === null ? [] : [make(state.session)])

const sendGone = (state: AgentState, key: AttemptKey): readonly AgentEffect[] =>
  inSession(state, (session) => ({ type: 'send', message: { type: 'gone', session, key } }))

const report = (state: AgentState, key: AttemptKey): readonly AgentEffect[] =>
  inSession(state, (session) => ({ type: 'report', key, session }))

const whyRefused = (state: AgentState, assignment: Assignment, unfit: string): string => {
  if (state.draining || state.isDrained) return 'the agent is draining'
  if (unfit !== '') return unfit
  if (!fits(freeRoom(state), assignment.memoryBytes)) return 'no room'
  const unacknowledged = all(state).filter(isUnacknowledged).length
  return unacknowledged >= limits.outboxResultsMax ? 'too many results wait to be acknowledged' : ''
}

const assign = (state: AgentState, assignment: Assignment, unfit: string): Step => {
  const { key, memoryBytes } = assignment
  const name = attemptName(key)
  // Not refused: that would say that it never ran.
  if (state.attempts.has(name) || state.past.has(name)) return only(state)
  const message = whyRefused(state, assignment, unfit)
  if (message !== '') {
    const refuse = (session: number): AgentEffect => ({
      type: 'send',
      message: { type: 'refused', session, key, message },
    })
    return only(state, ...inSession(state, refuse))
  }
  const attempt: Attempt = { ...FRESH, key, memoryBytes, phase: 'starting' }
  return only(withAttempt(state, attempt), { type: 'run', assignment })
}

const cancel = (state: AgentState, key: AttemptKey): Step => {
  const attempt = state.attempts.get(attemptName(key))
  if (attempt === undefined || attempt.isRemoved) return only(state, ...sendGone(state, key))
  const owing = withAttempt(state, { ...attempt, owesGone: true })
  return attempt.phase === 'ended' || attempt.owesGone
    ? only(owing)
    : only(owing, { type: 'stop', key, reason: 'cancel' })
}

const acknowledge = (state: AgentState, key: AttemptKey): Step => {
  const attempt = state.attempts.get(attemptName(key))
  if (attempt === undefined || !isUnacknowledged(attempt)) return only(state)
  const next = withAttempt(state, { ...attempt, isAcknowledged: true })
  return attempt.isWritten ? only(next, { type: 'delete', key }) : only(next)
}

const started = (state: AgentState, key: AttemptKey): Step => {
  const attempt = state.attempts.get(attemptName(key))
  if (attempt?.phase !== 'starting') return only(state)
  const tell = (session: number): AgentEffect => ({
    type: 'send',
    message: { type: 'started', session, key },
  })
  return only(withAttempt(state, { ...attempt, phase: 'running' }), ...inSession(state, tell))
}

const ended = (state: AgentState, key: AttemptKey, result: AttemptResult | null): Step => {
  const attempt = state.attempts.get(attemptName(key))
  if (attempt === undefined || attempt.phase === 'ended') return only(state)
  const isGoing = result?.code === 'CALL_DISK_FULL'
  const hasResult = result !== null
  const next = withAttempt(state, { ...attempt, phase: 'ended', hasResult, isGoing })
  if (result === null) return only(next, { type: 'remove', key, isBusy: true })
  const account = [{ type: 'write', key, result }, ...report(state, key)] as const
  return isGoing
    ? only(next, { type: 'remove', key, isBusy: true }, ...account)
    : only(next, ...account)
}

const overfilled = (state: AgentState, key: AttemptKey): Step => {
  const attempt = state.attempts.get(attemptName(key))
  if (attempt?.phase !== 'running' || attempt.owesGone) return only(state)
  return only(state, { type: 'stop', key, reason: 'disk' })
}

const written = (state: AgentState, key: AttemptKey): Step => {
  const attempt = state.attempts.get(attemptName(key))
  if (attempt === undefined || !attempt.hasResult || attempt.isWritten) return only(state)
  const next = withAttempt(state, { ...attempt, isWritten: true })
  const remove = { type: 'remove', key, isBusy: false } as const
  const erase = attempt.isAcknowledged ? [{ type: 'delete', key } as const] : []
  return only(next, ...erase, ...(attempt.isGoing ? [] : [remove]))
}

const removed = (state: AgentState, key: AttemptKey): Step => {
  const attempt = state.attempts.get(attemptName(key))
  if (attempt === undefined) return only(state)
  const next = withAttempt(state, { ...attempt, isRemoved: true, owesGone: false })
  const forget: readonly AgentEffect[] = attempt.hasResult ? [] : [{ type: 'delete', key }]
  return only(next, ...forget, ...(attempt.owesGone ? sendGone(state, key) : []))
}

const tellDraining = (state: AgentState): readonly AgentEffect[] =>
  inSession(state, (session) => ({
    type: 'send',
    message: { type: 'draining', session, draining: state.draining },
  }))

/**
 * Verdicts in order; then every result that is not of the past is reported. Whether we drain is said
 * first: it can have changed since the hello.
 */
const welcome = (state: AgentState, verdicts: readonly Verdict[]): Step => {
  const effects: AgentEffect[] = [...tellDraining(state)]
  let next = state
  for (const { key, verdict } of verdicts) {
    const attempt = next.attempts.get(attemptName(key))
    if (attempt === undefined || verdict === 'keep' || verdict === 'commit') continue
    const isDropped = verdict === 'drop' && attempt.hasResult
    const step = isDropped ? acknowledge(next, key) : cancel(next, key)
    next = step.state
    effects.push(...step.effects)
  }
  for (const attempt of all(next).filter(isUnacknowledged))
    effects.push(...report(next, attempt.key))
  return { state: next, effects }
}

const welcomed = (state: AgentState, event: Extract<AgentEvent, { type: 'welcomed' }>): Step => {
  if (event.epoch < state.epoch) return only({ ...state, session: null }, { type: 'disconnect' })
  const { session, epoch } = event
  return welcome({ ...state, session, epoch, isDrained: false }, event.verdicts)
}

const obey = (state: AgentState, order: CoordinatorOrder, unfit: string): Step => {
  if (order.session !== state.session || order.epoch < state.epoch) return only(state)
  switch (order.type) {
    case 'assign':
      return assign(state, order.assignment, unfit)
    case 'cancel':
      return cancel(state, order.key)
    case 'acknowledge':
      return acknowledge(state, order.key)
    case 'drain':
      return only({ ...state, isDrained: order.draining })
    case 'prepare':
      return only(state, { type: 'prepare', preparation: order.preparation })
    case 'pull':
      return only(state, { type: 'pull', order })
    case 'cancel-pull':
      return only(state, { type: 'cancelPull', pull: order.pull })
    case 'registry-auth':
      return only(state, { type: 'giveAuth', key: order.key, auth: order.auth })
    case 'renewed':
      return only(state)
    default:
      return assertNever(order)
  }
}

/** While the coordinator is away nobody is asked, and the pull fails in time. */
const wantAuth = (state: AgentState, key: AttemptKey): Step => {
  const ask = (session: number): AgentEffect => ({
    type: 'send',
    message: { type: 'want-registry-auth', session, key },
  })
  return only(state, ...inSession(state, ask))
}

const drain = (state: AgentState, draining: boolean): Step => {
  const next = { ...state, draining }
  return only(next, ...tellDraining(next))
}

export const step = (state: AgentState, event: AgentEvent): Step => {
  switch (event.type) {
    case 'welcomed':
      return welcomed(state, event)
    case 'disconnected':
      return only({ ...state, session: null })
    case 'order':
      return obey(state, event.order, event.unfit)
    case 'wantAuth':
      return wantAuth(state, event.key)
    case 'started':
      return started(state, event.key)
    case 'ended':
      return ended(state, event.key, event.result)
    case 'written':
      return written(state, event.key)
    case 'removed':
      return removed(state, event.key)
    case 'overfilled':
      return overfilled(state, event.key)
    case 'drain':
      return drain(state, event.draining)
    case 'resized':
      return only({ ...state, room: event.room })
    case 'leave':
      return only(
        { ...state, draining: true },
        ...all(state)
          .filter((attempt) => isHeld(attempt) && !attempt.owesGone)
          .map(({ key }) => ({ type: 'stop', key, reason: 'leaving' }) as const),
      )
    default:
      return assertNever(event)
  }
}
