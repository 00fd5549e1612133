/**
 * What each agent has left, kept up to date: `review` is called with every change of an agent (its
 * session, hello, adverts, leases, pauses) and of what the clock says of it.
 *
 *   closed ── connects, is heard, its pause or drain is over, has its engine and disk again ──► open
 *   open ── disconnects, falls silent, drains, refused, has no engine or a full disk ──► closed
 *
 * The clock is looked at with each tick, and at no other time: between two ticks only events open
 * and close an agent. Those that are open and have a slot left are kept apart, so that a full mesh
 * is seen to be full without asking anybody, and every gain of room is told to the line.
 */

import { limits } from '../../protocol/limits.ts'
import { gainRoom, wake } from './line.ts'
import type { Agent, Ledger, Terms } from './state.ts'

type Liveness = Pick<Agent, 'heardMs' | 'busySinceMs' | 'slotsUsed'>
type Openness = Liveness & Pick<Agent, 'session' | 'draining' | 'pausedUntilMs' | 'advert'>

/** How long it has not said what it would have said by now. */
export const silenceMs = (agent: Liveness, nowMs: number): number =>
  nowMs - (agent.slotsUsed === 0 ? agent.heardMs : Math.max(agent.heardMs, agent.busySinceMs))

/** It is here by its connection, but too silent to be given anything. */
export const isSuspectAt = (agent: Liveness, nowMs: number): boolean =>
  silenceMs(agent, nowMs) > (agent.slotsUsed === 0 ? limits.suspectIdleMs : limits.suspectBusyMs)

/** Whether it is offered anything, as of the last tick. */
export const isOpenAt = (agent: Openness, tickMs: number): boolean =>
  agent.session !== 0 &&
  !isSuspectAt(agent, tickMs) &&
  !agent.draining &&
  agent.pausedUntilMs <= tickMs &&
  agent.advert?.engineUp !== false &&
  agent.advert?.diskFull !== true

/** By the leases alone: attempts that it runs without one do not count. */
export const hasRoomByLeases = (agent: Agent, terms: Pick<Terms, 'memoryBytes'>): boolean =>
  agent.slotsUsed < agent.hello.slots &&
  agent.memoryUsedBytes + terms.memoryBytes <= agent.hello.memoryBytes

/** Attempts that it runs without a lease take their memory as well. */
const memoryFreeOf = (agent: Agent): number => {
  let bytes = agent.hello.memoryBytes - agent.memoryUsedBytes
  if (agent.heard.size === 0) return bytes
  for (const call of agent.heard.values()) bytes -= call.terms.memoryBytes
  return bytes
}

const leaveRoomy = (roomy: Agent[], agent: Agent): void => {
  const last = roomy.pop()
  if (last !== undefined && last !== agent) {
    roomy[agent.roomyAt] = last
    last.roomyAt = agent.roomyAt
  }
  agent.roomyAt = -1
}

const setRoomy = (roomy: Agent[], agent: Agent, isRoomy: boolean): void => {
  if (isRoomy === agent.roomyAt >= 0) return
  if (isRoomy) agent.roomyAt = roomy.push(agent) - 1
  else leaveRoomy(roomy, agent)
}

export const review = (ledger: Ledger, agent: Agent): void => {
  const slotsFree = agent.hello.slots - agent.slotsUsed - agent.heard.size
  const memoryFreeBytes = memoryFreeOf(agent)
  const isOpen = isOpenAt(agent, ledger.lastTickMs)
  const isGain =
    (isOpen && !agent.isOpen) ||
    slotsFree > agent.slotsFree ||
    memoryFreeBytes > agent.memoryFreeBytes
  agent.slotsFree = slotsFree
  agent.memoryFreeBytes = memoryFreeBytes
  agent.isOpen = isOpen
  setRoomy(ledger.roomy, agent, isOpen && slotsFree > 0 && memoryFreeBytes > 0)
  if (!isGain) return
  gainRoom(ledger.line)
  // A lease can be given back to what it runs without one, though it is offered nothing new.
  for (const call of agent.heard.values()) wakeAccountOf(ledger, call.terms)
}

export const wakeAccountOf = (ledger: Ledger, terms: Pick<Terms, 'accountId'>): void => {
  const account = ledger.accounts.get(terms.accountId)
  if (account !== undefined) wake(ledger, account)
}

/** It is no member any more. */
export const closeForGood = (ledger: Ledger, agent: Agent): void => {
  agent.isOpen = false
  setRoomy(ledger.roomy, agent, false)
}
