/**
 * Leases: granting, renewing, ending. A lease takes one of the account's quota and one slot and the
 * memory of its agent, from the grant until it ends, whatever becomes of the call meanwhile.
 *
 *   (none) ── grantLease ──► held ── renewed … ──► held
 *   held ── at-most-once, not renewed ──► silent ── renewed ──► held
 *   held | silent ── its call ended ──► over: until its container is known to be gone
 *   any ── endLease ──► (none): its result came, its container is gone, it never started, or it was
 *                       lost (D + 10 % + 5 s of silence; then lostAfter, if it is silent)
 *
 * D, the length of a renewal, is how long the attempt has run, at least 15 s and at most 10 min.
 */

import { assert } from '../../protocol/assert.ts'
import { type AttemptKey, attemptName } from '../../protocol/call.ts'
import { limits } from '../../protocol/limits.ts'
import type { LeaseRow } from '../rows.ts'
import { del, put } from '../store/store.ts'
import { wake } from './line.ts'
import { review } from './room.ts'
import type { Account, Agent, Effect, Lease, Ledger, Terms } from './state.ts'

export const leaseLengthMs = (heldMs: number): number =>
  Math.min(Math.max(heldMs, limits.leaseMsMin), limits.leaseMsMax)

/** When a lease that is not renewed any more counts as lost. */
export const leaseEndMs = (lease: Pick<Lease, 'renewedMs' | 'lengthMs'>): number =>
  lease.renewedMs +
  Math.round(lease.lengthMs * (1 + limits.leaseMarginRatio)) +
  limits.leaseMarginMs

const rowOf = (lease: Lease): LeaseRow => ({
  key: lease.key,
  agentId: lease.agentId,
  storeId: lease.storeId,
  ...lease.terms,
})

/** The leases of an agent, known yet or not. */
export const leasesOfAgent = (ledger: Ledger, agentId: string): Set<Lease> => {
  const leases = ledger.agentLeases.get(agentId) ?? new Set()
  ledger.agentLeases.set(agentId, leases)
  return leases
}

/** Enters a lease into the books of account and agent. */
export const bookLease = (ledger: Ledger, lease: Lease): void => {
  assert(!ledger.leases.has(attemptName(lease.key)), 'an attempt is leased once')
  ledger.leases.set(attemptName(lease.key), lease)
  // An ended call's lease can outlive its account.
  const account = ledger.accounts.get(lease.terms.accountId)
  if (account !== undefined) account.leases += 1
  leasesOfAgent(ledger, lease.agentId).add(lease)
  const agent = ledger.agents.get(lease.agentId)
  if (agent === undefined) return
  if (agent.slotsUsed === 0) agent.busySinceMs = lease.renewedMs
  agent.slotsUsed += 1
  agent.memoryUsedBytes += lease.terms.memoryBytes
  review(ledger, agent)
}

const writeLease = (lease: Lease, effects: Effect[]): void => {
  effects.push({ type: 'write', operation: put('lease', attemptName(lease.key), rowOf(lease)) })
}

/** Grants an attempt to an agent; the caller has seen that quota, slots and memory allow it. */
export const grantLease = (
  ledger: Ledger,
  account: Account,
  agent: Agent,
  key: AttemptKey,
  terms: Terms,
  nowMs: number,
  effects: Effect[],
): void => {
  assert(account.leases < account.quota, 'no lease beyond the quota')
  const lease: Lease = {
    key,
    agentId: agent.id,
    storeId: agent.hello.storeId,
    terms: {
      accountId: terms.accountId,
      memoryBytes: terms.memoryBytes,
      atMostOnce: terms.atMostOnce,
    },
    grantedMs: nowMs,
    renewedMs: nowMs,
    lengthMs: limits.leaseMsMin,
    isOver: false,
    silentSinceMs: null,
    isInherited: false,
    isDoubtful: false,
  }
  bookLease(ledger, lease)
  writeLease(lease, effects)
}

export const renewLease = (lease: Lease, nowMs: number): void => {
  lease.renewedMs = nowMs
  lease.lengthMs = leaseLengthMs(nowMs - lease.grantedMs)
  lease.silentSinceMs = null
  lease.isInherited = false
  lease.isDoubtful = false
}

/** Silence until now does not count: nothing was heard of it that could have been. */
export const forgiveLease = (lease: Lease, nowMs: number): void => {
  lease.renewedMs = nowMs
  lease.silentSinceMs = null
}

/** The call has its final state: the lease stands for the container alone. */
export const markOver = (lease: Lease): void => {
  assert(!lease.isOver, 'a call ends once')
  lease.isOver = true
  lease.silentSinceMs = null
}

/** An at-most-once attempt was not renewed in time: its agent is waited for. */
export const markSilent = (lease: Lease, nowMs: number): void => {
  assert(lease.terms.atMostOnce && !lease.isOver, 'a silent attempt that may run again is lost')
  lease.silentSinceMs ??= nowMs
}

export const endLease = (ledger: Ledger, lease: Lease, effects: Effect[]): void => {
  const name = attemptName(lease.key)
  if (!ledger.leases.delete(name)) return
  const leases = leasesOfAgent(ledger, lease.agentId)
  leases.delete(lease)
  const agent = ledger.agents.get(lease.agentId)
  if (agent !== undefined) {
    agent.slotsUsed -= 1
    agent.memoryUsedBytes -= lease.terms.memoryBytes
    review(ledger, agent)
  } else if (leases.size === 0) ledger.agentLeases.delete(lease.agentId)
  const account = ledger.accounts.get(lease.terms.accountId)
  if (account !== undefined) {
    account.leases -= 1
    wake(ledger, account)
  }
  effects.push({ type: 'write', operation: del('lease', name) })
}

export const leaseOf = (ledger: Ledger, key: AttemptKey, agentId: string): Lease | undefined => {
  const lease = ledger.leases.get(attemptName(key))
  return lease?.agentId === agentId ? lease : undefined
}
