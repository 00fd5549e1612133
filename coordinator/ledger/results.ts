/**
 * Results of attempts, and what becomes of a final call's body.
 *
 * The first result of any granted attempt that retry.ts calls final ends the call; whatever comes
 * from an attempt that was not granted to that agent is acknowledged and dropped. An agent keeps a
 * result until it is acknowledged: that is, until its commit, and for a synchronous call until its
 * body was delivered or written.
 */

import { type AttemptKey, type AttemptResult, attemptName } from '../../protocol/call.ts'
import type { HistoryRow } from '../rows.ts'
import { setAside } from './aside.ts'
import { leasesOf, returnToQueue, writeCall } from './calls.ts'
import { delayOf, heardOf } from './delay.ts'
import { bodyOf, endCall } from './ending.ts'
import { exclude, exclusionBy } from './exclusions.ts'
import { countAsAlive, countAsLost, dropGrant, grantOf, unhear } from './grants.ts'
import { endLease, leaseOf } from './leases.ts'
import { type Decision, decideResult } from './retry.ts'
import type { Call, Effect, Ledger, Now } from './state.ts'

/** An output whose delivery to a synchronous client is under way, or was when we were killed. */
export interface Owed {
  readonly key: AttemptKey
  readonly agentId: string
  readonly row: HistoryRow
  /** From before this start: only its agent still has the body. */
  readonly isInherited: boolean
  /** How long that agent is waited for. */
  readonly untilMs: number
}

export const commitResult = (
  ledger: Ledger,
  agentId: string,
  key: AttemptKey,
  result: AttemptResult,
  now: Now,
  effects: Effect[],
): void => {
  const lease = leaseOf(ledger, key, agentId)
  const call = ledger.calls.get(key.call)
  const attemptMs = lease === undefined ? 0 : now.ms - lease.grantedMs
  if (lease !== undefined) endLease(ledger, lease, effects)
  const grant = call === undefined ? undefined : grantOf(call, key, agentId)
  if (call === undefined || grant === undefined) {
    keepOwed(ledger, agentId, key, result, effects)
    acknowledge(ledger, agentId, key, effects)
    return
  }
  unhear(ledger, call, key)
  const isLeaving = result.code === 'AGENT_LOST' && ledger.agents.get(agentId)?.draining === true
  const isAnotherAlive =
    heardOf(call).length > 0 || leasesOf(ledger, call).some((other) => !other.isOver)
  const decision = decideResult(
    { ...standingOf(call, attemptMs), isAnotherAlive, isSpared: grant.isLost || isLeaving },
    result,
  )
  if (decision.kind === 'final') {
    endCall(ledger, call, { ...result, key, agentId }, now, effects)
    // An owed body is acknowledged when it was delivered or written.
    if (!ledger.owed.has(call.id)) acknowledge(ledger, agentId, key, effects)
    return
  }
  if (!result.started) countAsAlive(call, key)
  const agent = ledger.agents.get(agentId)
  const why = exclusionBy(result)
  if (why !== null && agent !== undefined) exclude(ledger, agent, call.terms, why)
  if (decision.kind === 'again') tryAgain(ledger, call, key, result, decision, now, effects)
  dropGrant(call, key)
  writeCall(call, effects)
  acknowledge(ledger, agentId, key, effects)
}

/** The pause before an attempt that failed to start, and the attempt itself, are time of failing. */
const standingOf = (call: Call, attemptMs: number) => {
  const { failedForMs, pauseMs } = call.delay ?? { failedForMs: 0, pauseMs: 0 }
  const { terms, attemptsLost, exitRetries } = call
  return {
    ...{ terms, attemptsLost, exitRetries, pauseMs },
    failedForMs: failedForMs + pauseMs + attemptMs,
  }
}

const tryAgain = (
  ledger: Ledger,
  call: Call,
  key: AttemptKey,
  result: AttemptResult,
  decision: Extract<Decision, { kind: 'again' }>,
  now: Now,
  effects: Effect[],
): void => {
  if (decision.usesUp) countAsLost(call, key)
  if (result.code === 'CALL_EXITED') call.exitRetries += 1
  if (call.delay !== null || decision.pauseMs > 0) {
    const delay = delayOf(call)
    delay.pauseMs = decision.pauseMs
    delay.failedForMs = decision.failedForMs
  }
  // It may wait already, its lease having been lost before: then it stays in its place.
  if (call.state !== 'leased' && call.state !== 'running') return
  if (decision.pauseMs === 0) returnToQueue(ledger, call, result.message)
  else setAside(ledger, call, now.ms, decision.pauseMs, result.message, effects)
}

/** A result told again whose delivery is not sure: the body is written. */
const keepOwed = (
  ledger: Ledger,
  agentId: string,
  key: AttemptKey,
  result: AttemptResult,
  effects: Effect[],
): void => {
  const owed = owedOf(ledger, key, agentId)
  if (owed === undefined) return
  ledger.owed.delete(key.call)
  const { row } = owed
  const body = bodyOf(result)
  effects.push({ type: 'keep-output', row, body })
  // Who asked after our start still waits for it.
  if (owed.isInherited) {
    effects.push({
      type: 'final',
      callId: row.id,
      attempt: row.attempt,
      outcome: row.outcome,
      body,
    })
  }
}

const acknowledge = (ledger: Ledger, agentId: string, key: AttemptKey, effects: Effect[]): void => {
  const agent = ledger.agents.get(agentId)
  if (agent === undefined || agent.session === 0) return
  effects.push({
    type: 'send',
    agentId,
    order: { type: 'acknowledge', session: agent.session, key },
  })
}

/** A synchronous client has its body (none given), or never will: then the body is kept. */
export const settleDelivery = (
  ledger: Ledger,
  callId: string,
  effects: Effect[],
  body?: Uint8Array,
): void => {
  const live = ledger.calls.get(callId)
  if (live !== undefined) {
    // The client went away before the end: the output will go to the cache.
    live.sync = false
    return
  }
  const owed = ledger.owed.get(callId)
  if (owed === undefined) return
  ledger.owed.delete(callId)
  effects.push(
    body === undefined
      ? { type: 'output-gone', row: owed.row }
      : { type: 'keep-output', row: owed.row, body },
  )
  acknowledge(ledger, owed.agentId, owed.key, effects)
}

export const owedOf = (ledger: Ledger, key: AttemptKey, agentId: string): Owed | undefined => {
  const owed = ledger.owed.get(key.call)
  const isIts = owed?.agentId === agentId && attemptName(owed.key) === attemptName(key)
  return isIts ? owed : undefined
}

const giveUp = (ledger: Ledger, { row }: Owed, effects: Effect[]): void => {
  ledger.owed.delete(row.id)
  const { id: callId, attempt, outcome } = row
  effects.push(
    { type: 'output-gone', row },
    { type: 'final', callId, attempt, outcome, body: new Uint8Array() },
  )
}

/** What only the agent still had is gone: it was removed from the mesh, or names it no more. */
export const giveUpOwed = (
  ledger: Ledger,
  agentId: string,
  named: ReadonlySet<string>,
  effects: Effect[],
): void => {
  for (const owed of ledger.owed.values()) {
    if (!owed.isInherited || owed.agentId !== agentId || named.has(attemptName(owed.key))) continue
    giveUp(ledger, owed, effects)
  }
}

/** Bodies whose agent stayed away for as long as a history row stays. */
export const expireOwed = (ledger: Ledger, nowMs: number, effects: Effect[]): void => {
  for (const owed of ledger.owed.values()) {
    if (owed.untilMs <= nowMs) giveUp(ledger, owed, effects)
  }
}
