/**
 * The agents as the ledger knows them, from one session to the next: who they are, what they could
 * run, whether they are here. What they say of their attempts is judged in sessions.ts.
 *
 *   (none) ── rememberAgent, or its first hello ──► away
 *   away ── introduceAgent ──► here (session n) ── introduceAgent ──► here (a later session)
 *   here ── disconnectAgent, of that session ──► away
 *   any ── forgetAgent ──► (none): its leases are given up, for nothing that it says is heard
 */

import type { Advert } from '../../protocol/advert.ts'
import { assert } from '../../protocol/assert.ts'
import { factsOf } from '../../protocol/messages.ts'
import { bringBackHopeless, readmitHolder } from './aside.ts'
import { unhearAgent } from './grants.ts'
import { leasesOfAgent } from './leases.ts'
import { changeMembership, gainRoom } from './line.ts'
import { giveUpLeases } from './lost.ts'
import { setReady } from './readiness.ts'
import { giveUpOwed } from './results.ts'
import { closeForGood, review } from './room.ts'
import type { Agent, Effect, Ledger, LedgerEvent, Now } from './state.ts'

/** A member as its last hello described it, while it is away. */
export const rememberAgent = (
  ledger: Ledger,
  id: string,
  name: string,
  hello: Agent['hello'],
  nowMs: number,
  isDrained = false,
): Agent => {
  const leases = leasesOfAgent(ledger, id)
  let memoryUsedBytes = 0
  for (const lease of leases) memoryUsedBytes += lease.terms.memoryBytes
  const agent: Agent = {
    id,
    rank: ledger.nextRank,
    name,
    session: 0,
    hello,
    draining: hello.draining,
    isDrained,
    advert: null,
    images: new Set(),
    excluded: new Map(),
    ready: new Map(),
    slotsUsed: leases.size,
    memoryUsedBytes,
    leases,
    heard: new Map(),
    heardMs: nowMs,
    busySinceMs: nowMs,
    reservedFor: null,
    pausedUntilMs: 0,
    pauseMs: 0,
    isOpen: false,
    slotsFree: 0,
    memoryFreeBytes: 0,
    roomyAt: -1,
  }
  ledger.nextRank += 1
  ledger.agents.set(id, agent)
  review(ledger, agent)
  changeMembership(ledger)
  return agent
}

/** A session begins: what the last one knew of its attempts is known no more. */
export const introduceAgent = (
  ledger: Ledger,
  event: Extract<LedgerEvent, { type: 'connect' }>,
  nowMs: number,
): Agent => {
  const hello = factsOf(event.hello)
  const agent =
    ledger.agents.get(event.agentId) ??
    rememberAgent(ledger, event.agentId, event.name, hello, nowMs)
  assert(event.session > agent.session, 'a session has a higher number than the one it replaces')
  unhearAgent(ledger, agent)
  agent.name = event.name
  agent.session = event.session
  agent.hello = hello
  agent.draining = hello.draining || agent.isDrained
  // Its adverts are numbered anew; which images it holds it still holds.
  agent.advert = null
  agent.excluded.clear()
  setReady(ledger, agent, [])
  agent.heardMs = nowMs
  agent.pausedUntilMs = 0
  agent.pauseMs = 0
  review(ledger, agent)
  return agent
}

export const disconnectAgent = (ledger: Ledger, agentId: string, session: number): void => {
  const agent = ledger.agents.get(agentId)
  if (agent?.session !== session) return
  agent.session = 0
  setReady(ledger, agent, [])
  unhearAgent(ledger, agent)
  review(ledger, agent)
}

/** Something came from it. */
export const hearAgent = (ledger: Ledger, agentId: string, nowMs: number): void => {
  const agent = ledger.agents.get(agentId)
  if (agent === undefined || agent.session === 0) return
  agent.heardMs = nowMs
  if (!agent.isOpen) review(ledger, agent)
}

export const forgetAgent = (
  ledger: Ledger,
  { agentId, reason }: Pick<Extract<LedgerEvent, { type: 'forget' }>, 'agentId' | 'reason'>,
  now: Now,
  effects: Effect[],
): void => {
  const agent = ledger.agents.get(agentId)
  if (agent !== undefined) unhearAgent(ledger, agent)
  giveUpLeases(ledger, agentId, reason, now, effects)
  if (agent !== undefined) {
    setReady(ledger, agent, [])
    closeForGood(ledger, agent)
    ledger.agents.delete(agentId)
    ledger.agentLeases.delete(agentId)
    // While there is no member at all nobody is set aside.
    if (ledger.agents.size === 0) bringBackHopeless(ledger, null)
    changeMembership(ledger)
  }
  giveUpOwed(ledger, agentId, new Set(), effects)
}

/** Gossip may bring an older one later. */
export const takeAdvert = (ledger: Ledger, agentId: string, advert: Advert): void => {
  const agent = ledger.agents.get(agentId)
  if (agent === undefined) return
  if (agent.advert !== null && advert.sequence <= agent.advert.sequence) return
  const held = agent.images
  agent.advert = advert
  agent.images = new Set(advert.images)
  setReady(ledger, agent, advert.ready)
  review(ledger, agent)
  readmitHolder(ledger, agent)
  // A call that runs only where its image is may run here now.
  if (advert.images.some((image) => !held.has(image))) gainRoom(ledger.line)
}

/** Its own word. */
export const setDraining = (ledger: Ledger, agentId: string, draining: boolean): void => {
  const agent = ledger.agents.get(agentId)
  if (agent === undefined) return
  agent.draining = draining
  review(ledger, agent)
}

/** The operator’s word on an agent; one that is away is told when it comes. */
export const drainAgent = (
  ledger: Ledger,
  agentId: string,
  draining: boolean,
  effects: Effect[],
): void => {
  const agent = ledger.agents.get(agentId)
  if (agent === undefined) return
  agent.isDrained = draining
  agent.draining = draining
  review(ledger, agent)
  tellDrain(agent, effects)
}

export const tellDrain = (agent: Agent, effects: Effect[]): void => {
  const { id: agentId, session, isDrained: draining } = agent
  if (session === 0) return
  effects.push({ type: 'send', agentId, order: { type: 'drain', session, draining } })
}
