/**
 * Attempts that fell silent. A lease that was not renewed within D + 10 % + 5 s is lost: the call
 * goes back to its place, with one attempt used up; an at-most-once call keeps lease and quota and
 * waits for its agent, for `lostAfter`, then it has failed. Silence that was the coordinator's own
 * (it was away, or has just started) uses up nothing.
 */

import { assert } from '../../protocol/assert.ts'
import { limits } from '../../protocol/limits.ts'
import { returnToQueue, writeCall } from './calls.ts'
import { endCall, endingWithout } from './ending.ts'
import { countAsLost } from './grants.ts'
import { endLease, forgiveLease, leaseEndMs, markSilent } from './leases.ts'
import type { Call, Effect, Lease, Ledger, Now } from './state.ts'

const agentName = (ledger: Ledger, lease: Lease): string =>
  ledger.agents.get(lease.agentId)?.name ?? lease.agentId

/**
 * The attempt is given up: its call is run again, or has failed. Its result still counts. `reason`
 * says more of why than that it was lost; '' where nothing is known.
 */
export const loseAttempt = (
  ledger: Ledger,
  lease: Lease,
  call: Call,
  now: Now,
  effects: Effect[],
  reason = '',
): void => {
  const name = agentName(ledger, lease)
  const why = reason === '' ? '' : `: ${reason}`
  endLease(ledger, lease, effects)
  if (call.state !== 'leased' && call.state !== 'running') return
  if (!lease.isInherited) countAsLost(call, lease.key)
  if (call.terms.atMostOnce || call.attemptsLost >= call.terms.maxAttempts) {
    const tries = `${call.attemptsLost} of ${call.terms.maxAttempts} attempts lost`
    endCall(
      ledger,
      call,
      endingWithout(call, 'AGENT_LOST', `agent lost: ${name}${why} (${tries})`),
      now,
      effects,
    )
    return
  }
  writeCall(call, effects)
  returnToQueue(ledger, call, `agent ${name} was lost${why}`)
}

const expire = (ledger: Ledger, lease: Lease, now: Now, effects: Effect[]): void => {
  const call = ledger.calls.get(lease.key.call)
  assert(lease.isOver === (call === undefined), 'a lease is over with its call')
  if (call === undefined) {
    endLease(ledger, lease, effects)
    return
  }
  if (!lease.terms.atMostOnce) {
    loseAttempt(ledger, lease, call, now, effects)
    return
  }
  markSilent(lease, now.ms)
  if (now.ms - (lease.silentSinceMs ?? now.ms) < limits.lostAfterMs) return
  loseAttempt(ledger, lease, call, now, effects)
}

/** Its agent is no member any more: nothing is waited for. */
export const giveUpLeases = (
  ledger: Ledger,
  agentId: string,
  reason: string,
  now: Now,
  effects: Effect[],
): void => {
  for (const lease of [...(ledger.agentLeases.get(agentId) ?? [])]) {
    const call = ledger.calls.get(lease.key.call)
    if (call === undefined) endLease(ledger, lease, effects)
    else loseAttempt(ledger, lease, call, now, effects, reason)
  }
}

/** Looks at every lease: there are as many as slots in use, not as many as calls. */
export const expireLeases = (ledger: Ledger, now: Now, effects: Effect[]): void => {
  for (const lease of ledger.leases.values()) {
    if (now.ms > leaseEndMs(lease)) expire(ledger, lease, now, effects)
  }
}

/** The coordinator itself was away: no agent could reach it, so no silence counts. */
export const forgiveSilence = (ledger: Ledger, nowMs: number): void => {
  for (const lease of ledger.leases.values()) forgiveLease(lease, nowMs)
  for (const agent of ledger.agents.values()) agent.heardMs = nowMs
}

const RESTORED =
  'the state was restored from a backup: it may have run since, and is not started twice'

/**
 * The state comes from a backup. What the lost coordinator did after it nobody knows: an at-most-once
 * call that lives in the backup may have run to its end since, whether it had an attempt then or not.
 */
export const endRestored = (
  ledger: Ledger,
  callIds: readonly string[],
  now: Now,
  effects: Effect[],
): void => {
  for (const callId of callIds) {
    const call = ledger.calls.get(callId)
    if (call?.terms.atMostOnce !== true) continue
    endCall(ledger, call, endingWithout(call, 'AGENT_LOST', RESTORED), now, effects)
  }
}

/** Ids of the at-most-once calls, in order. */
export const atMostOnceCalls = (ledger: Pick<Ledger, 'calls'>): readonly string[] =>
  [...ledger.calls.values()]
    .filter(({ terms }) => terms.atMostOnce)
    .sort((left, right) => left.seq - right.seq)
    .map(({ id }) => id)
