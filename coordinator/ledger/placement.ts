/**
 * What runs next, and where. Pure.
 *
 * Among the accounts whose head fits somewhere now, the lowest running/quota goes first, ties by
 * the oldest head. Among the agents with room, one that holds the image is preferred, then
 * the one with the most free slots. The cost is O(accounts that wait) + O(agents): the number of
 * waiting calls plays no part.
 */

import { imageKey } from '../../protocol/image.ts'
import { limits } from '../../protocol/limits.ts'
import type { Account, Agent, Call, Terms } from './state.ts'

const hasLabels = (agent: Agent, terms: Terms): boolean =>
  Object.entries(terms.constraints).every(([name, value]) => agent.hello.labels[name] === value)

const holdsImage = (agent: Agent, terms: Terms): boolean => agent.images.has(imageKey(terms.image))

/** It could run it, and has the image or can get it. */
export const canRunHere = (agent: Agent, terms: Terms): boolean =>
  couldRun(agent, terms) && (terms.isAnywhere || holdsImage(agent, terms))

/** By its last hello: whether it could ever run such a call, were it present and empty. */
export const couldRun = (agent: Agent, terms: Terms): boolean =>
  agent.hello.slots > 0 &&
  agent.hello.memoryBytes >= terms.memoryBytes &&
  agent.hello.platform === terms.platform &&
  (terms.runtime === '' || agent.hello.runtimes.includes(terms.runtime)) &&
  hasLabels(agent, terms)

export const isOpen = (agent: Agent, nowMs: number): boolean =>
  agent.session !== 0 &&
  nowMs - agent.heardMs <= limits.silentAgentMs &&
  !agent.draining &&
  agent.pausedUntilMs <= nowMs &&
  agent.advert?.engineUp !== false

/** By the leases alone. */
export const hasRoom = (agent: Agent, terms: Pick<Terms, 'memoryBytes'>): boolean =>
  agent.slotsUsed < agent.hello.slots &&
  agent.memoryUsedBytes + terms.memoryBytes <= agent.hello.memoryBytes

export const slotsFree = (agent: Agent): number =>
  agent.hello.slots - agent.slotsUsed - agent.heard.size

/** Attempts that it runs without a lease take their room as well. */
export const memoryFreeBytes = (agent: Agent): number => {
  let bytes = agent.hello.memoryBytes - agent.memoryUsedBytes
  for (const call of agent.heard.values()) bytes -= call.terms.memoryBytes
  return bytes
}

/** What is left beside the room that is held for another account's head. */
const hasFreeRoom = (agent: Agent, terms: Terms): boolean => {
  const held = agent.reservedFor
  const isHeld = held !== null && held.terms.accountId !== terms.accountId
  const slots = slotsFree(agent) - (isHeld ? 1 : 0)
  const bytes = memoryFreeBytes(agent) - (isHeld ? held.terms.memoryBytes : 0)
  return slots > 0 && terms.memoryBytes <= bytes
}

const fitsNow = (agent: Agent, terms: Terms, nowMs: number): boolean =>
  isOpen(agent, nowMs) && hasFreeRoom(agent, terms) && canRunHere(agent, terms)

export const pickAgent = (
  agents: Iterable<Agent>,
  terms: Terms,
  nowMs: number,
): Agent | undefined => {
  let best: Agent | undefined
  let bestScore = -1
  for (const agent of agents) {
    if (!fitsNow(agent, terms, nowMs)) continue
    const score = (holdsImage(agent, terms) ? 1e9 : 0) + slotsFree(agent)
    if (score > bestScore) {
      best = agent
      bestScore = score
    }
  }
  return best
}

/** The account whose head goes next; `isBlocked` ones have a head that found no room this time. */
export const pickAccount = (
  accounts: Iterable<Account>,
  isBlocked: (account: Account) => boolean,
): { account: Account; call: Call } | undefined => {
  let best: { account: Account; call: Call } | undefined
  let bestShare = Number.POSITIVE_INFINITY
  for (const account of accounts) {
    if (account.leases >= account.quota || isBlocked(account)) continue
    const call = account.queue.head()
    if (call === undefined) continue
    const share = account.leases / account.quota
    if (
      share < bestShare ||
      (share === bestShare && best !== undefined && call.seq < best.call.seq)
    ) {
      best = { account, call }
      bestShare = share
    }
  }
  return best
}

/** Why a call cannot run now, for people. */
export const whyNotPlaced = (agents: Iterable<Agent>, terms: Terms, nowMs: number): string => {
  const all = [...agents].filter((agent) => agent.session !== 0)
  if (all.length === 0) return 'no agent is connected'
  const able = all.filter((agent) => couldRun(agent, terms))
  if (able.length === 0) {
    return `none of ${all.length} agents could run it (memory, platform, runtime or constraints)`
  }
  const open = able.filter((agent) => isOpen(agent, nowMs))
  if (open.length === 0)
    return `${able.length} agents could run it, but drain, are silent or have no engine`
  return `${open.length} agents could run it, but have no room`
}

/** Who pulls an image for everybody: an agent with an engine, the freest first. */
export const pickAgentForPull = (agents: Iterable<Agent>): Agent | undefined => {
  let best: Agent | undefined
  for (const agent of agents) {
    // Without a platform it has not yet seen its engine.
    const hasEngine = agent.advert?.engineUp !== false && agent.hello.platform !== ''
    if (agent.session === 0 || !hasEngine) continue
    if (best === undefined || slotsFree(agent) > slotsFree(best)) best = agent
  }
  return best
}
