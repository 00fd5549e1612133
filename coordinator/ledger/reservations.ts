/**
 * Room for large heads. A head that found no room for 30 s, with quota free, reserves it on one
 * agent: what frees there is held up to the head's need, the rest is still given out (placement.ts).
 * The agent is the one whose calls must end soonest to make the room; calls without a timeout never
 * must.
 *
 *   (none) ── 30 s without room ──► held ──► (none): placed, ended, set aside; the agent left or
 *                                             drains; after 10 min, and then on another agent
 *
 * One reservation an account and an agent, on at most half of the agents, and on one at least.
 */

import { limits } from '../../protocol/limits.ts'
import { isLive } from './calls.ts'
import { canRunHere, isOpen, memoryFreeBytes, slotsFree } from './placement.ts'
import type { Account, Agent, Call, Lease, Ledger } from './state.ts'

export const endReservation = (ledger: Ledger, accountId: string): void => {
  const reservation = ledger.reservations.get(accountId)
  if (reservation === undefined) return
  ledger.reservations.delete(accountId)
  reservation.agent.reservedFor = null
}

/** When the lease must have ended, by the function's timeout; its container may end before. */
const endsMs = (ledger: Ledger, lease: Lease, nowMs: number): number => {
  const call = ledger.calls.get(lease.key.call)
  // Its call is over: the container is being ended.
  if (call === undefined || lease.isOver) return nowMs
  return call.terms.timeoutMs === 0 ? Infinity : lease.grantedMs + call.terms.timeoutMs
}

/** When the agent must have room for the call. */
const roomMs = (ledger: Ledger, agent: Agent, call: Call, nowMs: number): number => {
  let slots = slotsFree(agent)
  let bytes = memoryFreeBytes(agent)
  const ends = [...agent.leases].map((lease) => ({ lease, ms: endsMs(ledger, lease, nowMs) }))
  ends.sort((a, b) => a.ms - b.ms)
  for (const { lease, ms } of ends) {
    slots += 1
    bytes += lease.terms.memoryBytes
    if (slots > 0 && bytes >= call.terms.memoryBytes) return ms
  }
  return Infinity
}

const pickForReservation = (
  ledger: Ledger,
  call: Call,
  nowMs: number,
  former: Agent | undefined,
): Agent | undefined => {
  let best: Agent | undefined
  let bestMs = Infinity
  for (const agent of ledger.agents.values()) {
    const isFree = agent.reservedFor === null && agent !== former
    if (!isFree || !isOpen(agent, nowMs) || !canRunHere(agent, call.terms)) continue
    const ms = roomMs(ledger, agent, call, nowMs)
    if (best === undefined || ms < bestMs) {
      best = agent
      bestMs = ms
    }
  }
  return best
}

const isStanding = (ledger: Ledger, call: Call, agent: Agent, nowMs: number): boolean =>
  isLive(ledger, call) &&
  call.state === 'queued' &&
  ledger.agents.get(agent.id) === agent &&
  isOpen(agent, nowMs)

const reserve = (
  ledger: Ledger,
  account: Account,
  call: Call,
  nowMs: number,
  former: Agent | undefined,
): void => {
  // The only one that could is taken again where there is no other.
  const agent =
    pickForReservation(ledger, call, nowMs, former) ??
    pickForReservation(ledger, call, nowMs, undefined)
  if (agent === undefined) return
  agent.reservedFor = call
  ledger.reservations.set(account.id, { call, agent, untilMs: nowMs + limits.reservationMs })
}

/** With every tick: what is over ends, and heads that waited long enough get theirs. */
export const renewReservations = (ledger: Ledger, nowMs: number): void => {
  const formers = new Map<string, Agent>()
  for (const [accountId, { call, agent, untilMs }] of ledger.reservations) {
    const isOver = nowMs >= untilMs
    if (!isOver && isStanding(ledger, call, agent, nowMs)) continue
    endReservation(ledger, accountId)
    if (isOver) formers.set(accountId, agent)
  }
  const open = [...ledger.agents.values()].filter((agent) => isOpen(agent, nowMs)).length
  const most = Math.max(1, Math.floor(open / 2))
  for (const account of ledger.accounts.values()) {
    if (ledger.reservations.size >= most) return
    if (ledger.reservations.has(account.id) || account.leases >= account.quota) continue
    const head = account.queue.head()
    if (head === undefined || head.heard.length > 0 || head.roomMs < limits.reserveAfterMs) continue
    reserve(ledger, account, head, nowMs, formers.get(account.id))
  }
}
