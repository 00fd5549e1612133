/**
 * Why a call cannot be placed now, for people: in numbers, and the first cause alone. Pure.
 *
 * Of all members those are left out, one condition after the other, that do not meet it: first what
 * a hello tells (platform, runtime, each label, size), then what passes (image, being open, slots,
 * memory). The condition that leaves nobody is the cause. It looks at every agent, so it is asked
 * when somebody looks, and now and then of the heads (waiting.ts).
 */

import { limits } from '../../protocol/limits.ts'
import { exclusionOf } from './exclusions.ts'
import { canHaveImage, hasFreeRoom, isOfPlatform } from './placement.ts'
import { isSuspectAt } from './room.ts'
import type { Agent, Ledger, Terms } from './state.ts'

/** Of one kind is what a person would not call news of each other: only the numbers differ. */
export type WaitKind =
  | ''
  | 'retry'
  | 'heard'
  | 'quota'
  | 'paused'
  | 'no agent'
  | 'platform'
  | 'runtime'
  | `label ${string}`
  | 'size'
  | 'image'
  | 'credentials'
  | 'closed'
  | 'slots'
  | 'memory'
  | 'held'

export interface Wait {
  readonly kind: WaitKind
  /** '' where there is nothing to say. */
  readonly text: string
}

export const NO_WAIT: Wait = { kind: '', text: '' }

/** Rounded down: what is free is not said to be enough where it is not. */
const sizeOf = (bytes: number): string => {
  const mega = Math.floor(Math.max(0, bytes) / 2 ** 20)
  return mega < 1024 ? `${mega} MB` : `${Math.floor((mega / 1024) * 10) / 10} GB`
}

const agentsOf = (count: number): string => (count === 1 ? '1 agent' : `${count} agents`)

/** Who is asked about the next condition, of how many, and what they have that the others have not. */
const subject = (left: readonly Agent[], all: readonly Agent[], have: string): string =>
  left.length === all.length
    ? agentsOf(left.length)
    : `${left.length} of ${agentsOf(all.length)} ${have}`.trimEnd()

const none = (left: readonly Agent[], what: string): string =>
  left.length === 1 ? `but not ${what}` : `none ${what}`

const NAMED_MAX = 5
const named = (words: Iterable<string>): string =>
  [...new Set(words)].slice(0, NAMED_MAX).join(', ')

/** A condition on an agent, and what is said where nobody that is left meets it. */
interface Condition {
  readonly kind: WaitKind
  readonly isMet: (agent: Agent) => boolean
  readonly why: (left: readonly Agent[], who: string) => string
}

const labelConditions = ({ constraints }: Terms): Condition[] =>
  Object.entries(constraints).map(([name, value]) => ({
    kind: `label ${name}`,
    isMet: ({ hello }) => hello.labels[name] === value,
    why: (left, who) => `needs label ${name}=${value}; ${who}, ${none(left, 'with it')}`,
  }))

const most = (agents: readonly Agent[], bytesOf: (agent: Agent) => number): string =>
  sizeOf(Math.max(...agents.map(bytesOf)))

/** As couldRun in placement.ts, one by one. */
const conditionsOfHello = (terms: Terms): Condition[] => [
  {
    kind: 'platform',
    isMet: (agent) => isOfPlatform(agent, terms),
    why: (left) =>
      terms.platforms === null
        ? `${agentsOf(left.length)}, ${none(left, 'with an engine that it has seen')}`
        : `no agent of platform ${named(terms.platforms)}: ${agentsOf(left.length)} of ${named(
            left.map(({ hello }) => hello.platform || 'one that is not known yet'),
          )}`,
  },
  {
    kind: 'platform',
    isMet: (agent) => exclusionOf(agent, terms) !== 'platform',
    why: (left) =>
      `no agent of platform: the registry has ${terms.image.reference} for none of ${named(
        left.map(({ hello }) => hello.platform),
      )} (${agentsOf(left.length)})`,
  },
  {
    kind: 'runtime',
    isMet: ({ hello }) => terms.runtime === '' || hello.runtimes.includes(terms.runtime),
    why: (left, who) => `needs runtime ${terms.runtime}; ${who}, ${none(left, 'with it')}`,
  },
  ...labelConditions(terms),
  {
    kind: 'size',
    isMet: ({ hello }) => hello.memoryBytes >= terms.memoryBytes,
    why: (left, who) => {
      const largest = most(left, ({ hello }) => hello.memoryBytes)
      const has = none(left, `with more than ${largest} in all`)
      return `needs ${sizeOf(terms.memoryBytes)}; ${who}, ${has}`
    },
  },
  {
    kind: 'slots',
    isMet: ({ hello }) => hello.slots > 0,
    why: (left, who) => `${who}, ${none(left, 'with slots')}`,
  },
  {
    kind: 'credentials',
    isMet: (agent) => exclusionOf(agent, terms) === null,
    why: (_left, who) =>
      `${who}, but the registry does not give ${terms.image.reference} with the account’s credentials: pull it again with others`,
  },
]

const imageCondition = (terms: Terms): Condition => ({
  kind: 'image',
  isMet: (agent) => canHaveImage(agent, terms),
  why: (left, who) => {
    const where = terms.isAnywhere
      ? `needs ${terms.image.reference}, which a former version of hyper cannot pull with credentials`
      : `needs ${terms.image.reference}, which is only where it was made`
    return `${where}; ${who}, ${none(left, 'with it')}`
  },
})

/** Why an agent is offered nothing (isOpenAt in room.ts). */
const closedWord = (agent: Agent, tickMs: number): string => {
  if (agent.session === 0) return 'away'
  if (agent.draining) return 'draining'
  if (agent.advert?.engineUp === false) return 'without its engine'
  if (agent.advert?.diskFull === true) return 'with a full disk'
  return isSuspectAt(agent, tickMs) ? 'suspect' : 'pausing after a refusal'
}

const closedWords = (agents: readonly Agent[], tickMs: number): string => {
  const counts = new Map<string, number>()
  for (const agent of agents) {
    const word = closedWord(agent, tickMs)
    counts.set(word, (counts.get(word) ?? 0) + 1)
  }
  return [...counts].map(([word, count]) => `${count} ${word}`).join(', ')
}

const roomConditions = (terms: Terms): Condition[] => [
  {
    kind: 'slots',
    isMet: ({ slotsFree }) => slotsFree > 0,
    why: (left, who) => {
      const slots = left.reduce((sum, { hello }) => sum + hello.slots, 0)
      return `${who}, no slot free of ${slots}`
    },
  },
  {
    kind: 'memory',
    isMet: ({ memoryFreeBytes }) => memoryFreeBytes >= terms.memoryBytes,
    why: (left, who) => {
      const free = none(left, `with more than ${most(left, (one) => one.memoryFreeBytes)} free`)
      return `needs ${sizeOf(terms.memoryBytes)}; ${who}, ${free}`
    },
  },
  {
    kind: 'held',
    isMet: (agent) => hasFreeRoom(agent, terms),
    why: (_left, who) => `${who}, with room that is held for calls that have waited longer`,
  },
]

/** Who meets all of them; or the first that nobody meets. */
const sift = (
  all: readonly Agent[],
  conditions: readonly Condition[],
  have: string,
): { readonly left: readonly Agent[] } | { readonly wait: Wait } => {
  let left = all
  for (const { kind, isMet, why } of conditions) {
    const next = left.filter(isMet)
    if (next.length === 0) return { wait: { kind, text: why(left, subject(left, all, have)) } }
    left = next
  }
  return { left }
}

const short = ({ kind, text }: Wait): Wait => ({
  kind,
  text:
    text.length <= limits.reasonCharsMax ? text : `${text.slice(0, limits.reasonCharsMax - 1)}…`,
})

/** Of the agents that could run it: by what is free on those that are open. */
const whyNoRoom = (able: readonly Agent[], who: string, terms: Terms, tickMs: number): Wait => {
  const open = able.filter((agent) => agent.isOpen)
  const closed = closedWords(
    able.filter((agent) => !agent.isOpen),
    tickMs,
  )
  if (open.length === 0) {
    const none = able.length === 1 ? 'but it takes no calls now' : 'but none takes calls now'
    return { kind: 'closed', text: `${who} could run it, ${none}: ${closed}` }
  }
  const sifted = sift(open, roomConditions(terms), 'with a slot free')
  if ('left' in sifted) return NO_WAIT
  const { kind, text } = sifted.wait
  return { kind, text: closed === '' ? text : `${text} (besides: ${closed})` }
}

/** Why no agent can take a call of these terms now; nothing where one can. */
export const whyNotPlaced = (
  { agents, lastTickMs }: Pick<Ledger, 'agents' | 'lastTickMs'>,
  terms: Terms,
): Wait => {
  const all = [...agents.values()]
  if (all.length === 0) return { kind: 'no agent', text: 'no agent is connected' }
  const conditions = [...conditionsOfHello(terms), imageCondition(terms)]
  const sifted = sift(all, conditions, 'could run it otherwise')
  if ('wait' in sifted) return short(sifted.wait)
  return short(whyNoRoom(sifted.left, subject(sifted.left, all, ''), terms, lastTickMs))
}
