/**
 * Results of attempts, and what becomes of a final call's body.
 *
 * The first result of any granted attempt that retry.ts calls final ends the call; whatever comes
 * from an attempt that was not granted to that agent is acknowledged and dropped. An agent keeps a
 * result until it is acknowledged: that is, until its commit, and for a synchronous call until its
 * body was delivered or written.
 */

import { type AttemptKey, type AttemptResult, attemptName } from '../../protocol/call.ts'
import { endCall, leasesOf, returnToQueue, setAside, writeCall } from './calls.ts'
import { endLease, leaseOf } from './leases.ts'
import { decideResult } from './retry.ts'
import { wasGranted } from './sessions.ts'
import type { Effect, Ledger, Now } from './state.ts'

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
  if (lease !== undefined) endLease(ledger, lease, effects)
  if (call === undefined || !wasGranted(call, key, agentId)) {
    const owed = ledger.owed.get(key.call)
    if (owed?.agentId === agentId && attemptName(owed.key) === attemptName(key)) {
      // Told again: the delivery is not sure, so the body is written.
      ledger.owed.delete(key.call)
      const body =
        result.code === 'FINISHED'
          ? result.stdout
          : new TextEncoder().encode(owed.row.outcome.message)
      effects.push({ type: 'keep-output', row: owed.row, body })
    }
    acknowledge(ledger, agentId, key, effects)
    return
  }
  const others = leasesOf(ledger, call).filter((other) => !other.isOver)
  const decision = decideResult(call, result, others.length > 0, now.ms)
  if (decision.kind === 'final') {
    endCall(ledger, call, { ...result, key, agentId }, now, effects)
    // An owed body is acknowledged when it was delivered or written.
    if (!ledger.owed.has(call.id)) acknowledge(ledger, agentId, key, effects)
    return
  }
  call.granted = call.granted.filter((grant) => grant.attempt !== key.attempt)
  if (decision.kind === 'again') {
    call.attemptsLost = decision.attemptsLost
    call.exitRetries = decision.exitRetries
    call.pauseMs = decision.pauseMs
    if (decision.pauseMs > 0) call.failingSinceMs ??= now.ms
    // It may wait already, its lease having been lost before: then it stays in its place.
    if (call.state === 'leased' || call.state === 'running') {
      if (decision.pauseMs === 0) returnToQueue(ledger, call, result.message)
      else setAside(ledger, call, now.ms, decision.pauseMs, result.message)
    }
  }
  writeCall(call, effects)
  acknowledge(ledger, agentId, key, effects)
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
