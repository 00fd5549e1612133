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
import { delayOf, heardOf } from './delay.ts'
import { gainRoom } from './line.ts'
import { canRunHere } from './placement.ts'
import type { Account, Agent, Call, Lease, Ledger } from './state.ts'

/** Room that is held for the head of an account. */
export interface Reservation {
  readonly call: Call
  readonly agent: Agent
  readonly untilMs: number
}

export const endReservation = (ledger: Ledger, accountId: string): void => {
  const reservation = ledger.reservations.get(accountId)
  if (reservation === undefined) return
  ledger.reservations.delete(accountId)
  reservation.agent.reservedFor = null
  gainRoom(ledger.line)
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
  let slots = agent.slotsFree
  let bytes = agent.memoryFreeBytes
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
    if (!isFree || !agent.isOpen || !canRunHere(agent, call.terms)) continue
    const ms = roomMs(ledger, agent, call, nowMs)
    if (best === undefined || ms < bestMs) {
      best = agent
      bestMs = ms
    }
  }
  return best
}

/** Its call waits, for room and not for quota, and the agent is one that could take it. */
const isStanding = (ledger: Ledger, { call, agent }: Reservation): boolean =>
  call.state === 'queued' &&
  ledger.accounts.get(call.terms.accountId)?.turn.place !== 'idle' &&
  ledger.agents.get(agent.id) === agent &&
  agent.isOpen

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
  if (agent === undefined) {
    // Nobody could hold it: it is asked again when it has waited as long once more.
    delayOf(call).roomMs = 0
    return
  }
  agent.reservedFor = call
  ledger.reservations.set(account.id, { call, agent, untilMs: nowMs + limits.reservationMs })
}

/** Ends what is over; which agents were held to the end of their time, by account. */
const endOver = (ledger: Ledger, nowMs: number): Map<string, Agent> => {
  const formers = new Map<string, Agent>()
  for (const [accountId, reservation] of ledger.reservations) {
    const isOver = nowMs >= reservation.untilMs
    if (!isOver && isStanding(ledger, reservation)) continue
    endReservation(ledger, accountId)
    if (isOver) formers.set(accountId, reservation.agent)
  }
  return formers
}

/** Heads that have waited for room for long enough, the oldest first. */
const headsWithoutRoom = (ledger: Ledger): { account: Account; head: Call }[] => {
  const heads: { account: Account; head: Call }[] = []
  for (const account of ledger.line.blocked.items()) {
    const head = account.queue.head()
    const roomMs = head?.delay?.roomMs ?? 0
    if (head === undefined || roomMs < limits.reserveAfterMs || heardOf(head).length > 0) continue
    if (!ledger.reservations.has(account.id)) heads.push({ account, head })
  }
  return heads.sort((left, right) => left.head.seq - right.head.seq)
}

/** With every tick: what is over ends, and heads that waited long enough get theirs. */
export const renewReservations = (ledger: Ledger, nowMs: number): void => {
  const formers = endOver(ledger, nowMs)
  const heads = headsWithoutRoom(ledger)
  if (heads.length === 0) return
  let open = 0
  for (const agent of ledger.agents.values()) if (agent.isOpen) open += 1
  const most = Math.max(1, Math.floor(open / 2))
  for (const { account, head } of heads.slice(0, limits.reservationsPerTickMax)) {
    if (ledger.reservations.size >= most) return
    reserve(ledger, account, head, nowMs, formers.get(account.id))
  }
}
