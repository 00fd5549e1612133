/** The operator's view of the agents: the members, what they said last, what the ledger gave them. */

import { createInvitation } from '../protocol/mesh/identity.ts'
import { encodeTicket } from '../protocol/mesh/ticket.ts'
import type { Agent, Ledger, LedgerEvent } from './ledger/state.ts'
import type { Member, Membership } from './membership.ts'
import type { Agents, AgentView } from './ports.ts'
import type { Roster } from './roster.ts'

interface Deps {
  readonly ledger: Ledger
  readonly membership: Membership
  readonly roster: Roster
  readonly apply: (event: LedgerEvent) => void
  readonly coordinator: string
  readonly addresses: () => readonly string[]
  /** Ends what a removed member still has open. */
  readonly disconnect: (peerId: string) => void
}

/** In one word: the first that keeps it from being offered calls. */
export const stateOf = (agent: Agent | undefined, isEpochAhead: boolean): AgentView['state'] => {
  if (isEpochAhead) return 'epoch ahead'
  if (agent === undefined || agent.session === 0) return 'away'
  if (agent.draining) return 'draining'
  if (agent.advert?.engineUp === false) return 'no engine'
  return agent.advert?.diskFull === true ? 'disk full' : 'ready'
}

const viewOf = (
  member: Member,
  agent: Agent | undefined,
  roster: Pick<Roster, 'seen' | 'isEpochAhead'>,
): AgentView => {
  const facts = agent?.hello ?? member.facts
  const slots = facts?.slots ?? 0
  const memoryBytes = facts?.memoryBytes ?? 0
  return {
    agent: member.name === '' ? member.peerId : member.name,
    peerId: member.peerId,
    state: stateOf(agent, roster.isEpochAhead(member.peerId)),
    slots,
    free: Math.max(0, slots - (agent?.slotsUsed ?? 0)),
    running: agent?.slotsUsed ?? 0,
    ready: agent?.advert?.ready.reduce((sum, { count }) => sum + count, 0) ?? 0,
    memoryBytes,
    memoryFreeBytes: Math.max(0, memoryBytes - (agent?.memoryUsedBytes ?? 0)),
    images: agent?.images.size ?? 0,
    version: facts?.version ?? '',
    platform: facts?.platform ?? '',
    runner: facts?.runner ?? null,
    labels: facts?.labels ?? {},
    seen: roster.seen(member.peerId),
  }
}

export const createAgents = (deps: Deps): Agents => {
  const { ledger, membership, roster, apply } = deps
  return {
    list: () =>
      membership
        .members()
        .map((member) => viewOf(member, ledger.agents.get(member.peerId), roster)),
    async drain(name, draining) {
      const { peerId } = membership.find(name)
      await membership.setDraining(peerId, draining)
      apply({ type: 'drain', agentId: peerId, draining })
    },
    async remove(name) {
      const { peerId } = membership.find(name)
      await membership.remove(peerId)
      roster.disconnect(peerId)
      apply({ type: 'forget', agentId: peerId })
      deps.disconnect(peerId)
    },
    async invite(uses, expiresMs) {
      const { peerId, key } = await createInvitation()
      const expires = Date.now() + expiresMs
      await membership.addInvite(peerId, uses, expires)
      const ticket = encodeTicket({
        addresses: deps.addresses(),
        coordinator: deps.coordinator,
        invitation: key,
        expires,
      })
      return { ticket, peerId, expires: new Date(expires).toISOString(), uses }
    },
  }
}
