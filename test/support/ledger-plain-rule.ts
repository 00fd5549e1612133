/**
 * The rule of what runs next, as guarantees state it and as slowly as one likes: again and again,
 * all accounts with quota free in the order of their turn, for each head all agents. Nothing that
 * the ledger keeps for speed is read: free room, open agents and turns are worked out anew.
 */

import { heardOf } from '../../coordinator/ledger/delay.ts'
import { isOpenAt } from '../../coordinator/ledger/room.ts'
import type { Agent, Call, Ledger, Terms } from '../../coordinator/ledger/state.ts'
import { type AttemptKey, attemptName } from '../../protocol/call.ts'
import { imageKey } from '../../protocol/image.ts'

export interface Decision {
  readonly kind: 'lease' | 'take back' | 'set aside'
  readonly callId: string
  readonly agentId: string
}

interface PlainAgent {
  readonly agent: Agent
  readonly isOpen: boolean
  leases: number
  leasedBytes: number
  /** Attempts without a lease, by name. */
  readonly heard: Map<string, Terms>
  heldFor: Call | null
}

interface PlainAccount {
  readonly id: string
  readonly quota: number
  leases: number
  readonly calls: Call[]
}

const accountsOf = (ledger: Ledger): PlainAccount[] =>
  [...ledger.accounts.values()].map(({ id, quota }) => ({
    ...{ id, quota },
    leases: [...ledger.leases.values()].filter((lease) => lease.terms.accountId === id).length,
    calls: [...ledger.calls.values()]
      .filter((call) => call.state === 'queued' && call.terms.accountId === id)
      .sort((a, b) => a.seq - b.seq),
  }))

const agentsOf = (ledger: Ledger): PlainAgent[] =>
  [...ledger.agents.values()]
    .sort((a, b) => a.rank - b.rank)
    .map((agent) => {
      const own = [...ledger.leases.values()].filter((lease) => lease.agentId === agent.id)
      const held = [...ledger.reservations.values()].find((one) => one.agent === agent)
      return {
        agent,
        isOpen: isOpenAt(agent, ledger.lastTickMs),
        leases: own.length,
        leasedBytes: own.reduce((sum, lease) => sum + lease.terms.memoryBytes, 0),
        heard: new Map([...agent.heard].map(([name, call]) => [name, call.terms])),
        heldFor: held?.call ?? null,
      }
    })

const isAble = ({ hello }: Agent, terms: Terms): boolean =>
  hello.slots > 0 &&
  hello.memoryBytes >= terms.memoryBytes &&
  (terms.platforms === null || terms.platforms.includes(hello.platform)) &&
  (terms.runtime === '' || hello.runtimes.includes(terms.runtime)) &&
  Object.entries(terms.constraints).every(([name, value]) => hello.labels[name] === value)

const freeSlots = ({ agent, leases, heard }: PlainAgent): number =>
  agent.hello.slots - leases - heard.size

const fits = (plain: PlainAgent, terms: Terms): boolean => {
  const { agent, heldFor } = plain
  const isHeld = heldFor !== null && heldFor.terms.accountId !== terms.accountId
  const heardBytes = [...plain.heard.values()].reduce((sum, one) => sum + one.memoryBytes, 0)
  const bytes =
    agent.hello.memoryBytes -
    plain.leasedBytes -
    heardBytes -
    (isHeld ? heldFor.terms.memoryBytes : 0)
  const hasImage = agent.images.has(imageKey(terms.image))
  return (
    plain.isOpen &&
    freeSlots(plain) > (isHeld ? 1 : 0) &&
    terms.memoryBytes <= bytes &&
    isAble(agent, terms) &&
    (terms.isAnywhere || hasImage)
  )
}

const best = (agents: readonly PlainAgent[], { terms, granted }: Call): PlainAgent | undefined => {
  const isLostOn = ({ id }: Agent): boolean =>
    granted.some(({ agentId, isLost }) => isLost && agentId === id)
  const score = (plain: PlainAgent): number =>
    (isLostOn(plain.agent) ? -1e12 : 0) +
    (plain.agent.images.has(imageKey(terms.image)) ? 1e9 : 0) +
    freeSlots(plain)
  // A stable sort: the one known for longest stays first.
  return agents.filter((plain) => fits(plain, terms)).sort((a, b) => score(b) - score(a))[0]
}

const canTakeBack = (plain: PlainAgent, terms: Terms): boolean =>
  plain.leases < plain.agent.hello.slots &&
  plain.leasedBytes + terms.memoryBytes <= plain.agent.hello.memoryBytes

/** What is decided of a head, and done in the plain books; null where it waits. */
const decide = (agents: readonly PlainAgent[], call: Call): Decision | null => {
  const { id: callId, terms } = call
  const take = (plain: PlainAgent, kind: Decision['kind']): Decision => {
    plain.leases += 1
    plain.leasedBytes += terms.memoryBytes
    for (const one of agents)
      if (one.heldFor?.terms.accountId === terms.accountId) one.heldFor = null
    return { kind, callId, agentId: plain.agent.id }
  }
  const heard = heardOf(call)
  if (heard.length > 0) {
    for (const { agentId } of heard) {
      const plain = agents.find(({ agent }) => agent.id === agentId)
      if (plain === undefined || !canTakeBack(plain, terms)) continue
      const unhear = ({ key }: { key: AttemptKey }): void =>
        agents.forEach((one) => void one.heard.delete(attemptName(key)))
      heard.forEach(unhear)
      return take(plain, 'take back')
    }
    return null
  }
  const plain = best(agents, call)
  if (plain !== undefined) return take(plain, 'lease')
  const isHopeless = agents.length > 0 && !agents.some(({ agent }) => isAble(agent, terms))
  return isHopeless ? { kind: 'set aside', callId, agentId: '' } : null
}

/** Everything that is placed now, in order. The ledger is not changed. */
export const plainDecisions = (ledger: Ledger): Decision[] => {
  const accounts = accountsOf(ledger)
  const agents = agentsOf(ledger)
  const decisions: Decision[] = []
  const next = (): Decision | null => {
    const turns = accounts
      .flatMap((account) => {
        const [call] = account.calls
        return call === undefined || account.leases >= account.quota ? [] : [{ account, call }]
      })
      .sort(
        (a, b) =>
          a.account.leases / a.account.quota - b.account.leases / b.account.quota ||
          a.call.seq - b.call.seq,
      )
    for (const { account, call } of turns) {
      const decision = decide(agents, call)
      if (decision === null) continue
      account.calls.shift()
      if (decision.kind !== 'set aside') account.leases += 1
      return decision
    }
    return null
  }
  for (let one = next(); one !== null; one = next()) decisions.push(one)
  return decisions
}
