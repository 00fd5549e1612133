/**
 * Where a call runs. Pure.
 *
 * Among the agents with room, one with a container ready for the call is preferred, then one that
 * holds the image, then the one with the most free slots, then the one known for longest. Where an attempt
 * of the call was lost comes last of all: another one there may go the same way. The cost is
 * that of one short look at each agent with a container ready, or else with room: the number of
 * waiting calls plays no part, and a mesh without room costs nothing.
 */

import { imageKey } from '../../protocol/image.ts'
import { REGISTRY_AUTH_SINCE } from '../../protocol/messages.ts'
import { exclusionOf } from './exclusions.ts'
import type { Agent, Ledger, Terms } from './state.ts'

const hasLabels = ({ hello }: Agent, { constraints }: Terms): boolean => {
  for (const name in constraints) if (hello.labels[name] !== constraints[name]) return false
  return true
}

/** One that has not seen its engine yet has no platform. */
export const isOfPlatform = ({ hello }: Agent, { platforms }: Terms): boolean =>
  platforms === null ? hello.platform !== '' : platforms.includes(hello.platform)

/** By its last hello: whether it could ever run such a call, were it present and empty. */
export const couldRun = (agent: Agent, terms: Terms): boolean =>
  agent.hello.slots > 0 &&
  agent.hello.memoryBytes >= terms.memoryBytes &&
  isOfPlatform(agent, terms) &&
  (terms.runtime === '' || agent.hello.runtimes.includes(terms.runtime)) &&
  hasLabels(agent, terms) &&
  exclusionOf(agent, terms) === null

/** Earlier versions cannot ask for the credentials that a pull needs. */
const canPull = ({ hello }: Agent, { image, isAnywhere }: Terms): boolean =>
  isAnywhere && (image.isPrivate !== true || hello.protocol >= REGISTRY_AUTH_SINCE)

/** Whether it has the image, or can get it. */
export const canHaveImage = (agent: Agent, terms: Terms): boolean =>
  canPull(agent, terms) || agent.images.has(imageKey(terms.image))

/** It could run it, and has the image or can get it. */
export const canRunHere = (agent: Agent, terms: Terms): boolean =>
  couldRun(agent, terms) && canHaveImage(agent, terms)

/** What is left beside the room that is held for another account's head. */
export const hasFreeRoom = (agent: Agent, terms: Terms): boolean => {
  const held = agent.reservedFor
  if (held === null || held.terms.accountId === terms.accountId) {
    return agent.slotsFree > 0 && terms.memoryBytes <= agent.memoryFreeBytes
  }
  return agent.slotsFree > 1 && terms.memoryBytes <= agent.memoryFreeBytes - held.terms.memoryBytes
}

/** `holdsImage` and the rest of the best so far decide; ranks are never equal. */
const isBetter = (
  one: Agent,
  isOneHolder: boolean,
  best: Agent,
  isBestHolder: boolean,
): boolean => {
  if (isOneHolder !== isBestHolder) return isOneHolder
  if (one.slotsFree !== best.slotsFree) return one.slotsFree > best.slotsFree
  return one.rank < best.rank
}

/** Who has a container ready for it: that agent holds the image, too, as good as ever. */
const pickReady = (
  agents: Iterable<Agent>,
  terms: Terms,
  without: readonly string[],
): Agent | undefined => {
  let best: Agent | undefined
  for (const agent of agents) {
    if (without.includes(agent.id)) continue
    if (agent.roomyAt < 0 || !hasFreeRoom(agent, terms) || !couldRun(agent, terms)) continue
    if (best === undefined || isBetter(agent, true, best, true)) best = agent
  }
  return best
}

const pickBeside = (
  { roomy, readyOn }: Pick<Ledger, 'roomy' | 'readyOn'>,
  terms: Terms,
  without: readonly string[],
): Agent | undefined => {
  const agents = readyOn.get(terms.readyKey)
  const ready = agents === undefined ? undefined : pickReady(agents, terms, without)
  if (ready !== undefined) return ready
  const key = imageKey(terms.image)
  let best: Agent | undefined
  let isBestHolder = false
  for (const agent of roomy) {
    if (without.includes(agent.id)) continue
    if (!hasFreeRoom(agent, terms) || !couldRun(agent, terms)) continue
    const isHolder = agent.images.has(key)
    if (!isHolder && !canPull(agent, terms)) continue
    if (best !== undefined && !isBetter(agent, isHolder, best, isBestHolder)) continue
    best = agent
    isBestHolder = isHolder
  }
  return best
}

const none: readonly string[] = []

/** Of agents that are open and have a slot left. `lostOn`: ids of those that come last. */
export const pickAgent = (
  ledger: Pick<Ledger, 'roomy' | 'readyOn'>,
  terms: Terms,
  lostOn: readonly string[] = none,
): Agent | undefined => {
  const elsewhere = pickBeside(ledger, terms, lostOn)
  return elsewhere === undefined && lostOn.length > 0 ? pickBeside(ledger, terms, none) : elsewhere
}

/** Who pulls an image for everybody: an agent with an engine, of none of those platforms; the freest first. */
export const pickAgentForPull = (
  agents: Iterable<Agent>,
  without: ReadonlySet<string>,
): Agent | undefined => {
  let best: Agent | undefined
  for (const agent of agents) {
    // Without a platform it has not yet seen its engine.
    const hasEngine = agent.advert?.engineUp !== false && agent.hello.platform !== ''
    if (agent.session === 0 || !hasEngine || without.has(agent.hello.platform)) continue
    if (best === undefined || agent.slotsFree > best.slotsFree) best = agent
  }
  return best
}
