/** The operator's view of the agents: the members, what they said last, what the ledger gave them. */

import { HyperError } from '../protocol/errors.ts'
import { createInvitation } from '../protocol/mesh/identity.ts'
import { encodeTicket } from '../protocol/mesh/ticket.ts'
import { mayBeElsewhere } from '../protocol/mesh/whereabouts.ts'
import { isSuspectAt, silenceMs } from './ledger/room.ts'
import type { Agent, Ledger, LedgerEvent } from './ledger/state.ts'
import type { Member, Membership } from './membership.ts'
import type { Agents, AgentView } from './ports.ts'
import type { Absence, Presence } from './presence.ts'
import type { Roster } from './roster.ts'

interface Deps {
  readonly ledger: Ledger
  readonly membership: Membership
  readonly roster: Pick<Roster, 'disconnect'>
  readonly presence: Presence
  readonly apply: (event: LedgerEvent) => void
  readonly coordinator: string
  readonly addresses: () => readonly string[]
  /** Ends what a removed member still has open. */
  readonly disconnect: (peerId: string) => void
}

/** Why an agent that is here is given nothing, though it is neither silent nor draining. */
const hindranceOf = ({ advert, pausedUntilMs }: Agent, nowMs: number): string => {
  if (advert?.engineUp === false) return 'no engine: it does not answer'
  if (advert?.diskFull === true) return 'disk full'
  return pausedUntilMs > nowMs ? 'paused: it refused a call' : ''
}

/** The state in one word, and why. */
export const conditionOf = (
  { departure }: Pick<Member, 'departure'>,
  agent: Agent | undefined,
  { absence, isEpochAhead }: { readonly absence: Absence | null; readonly isEpochAhead: boolean },
  nowMs: number,
): Pick<AgentView, 'state' | 'reason'> => {
  if (departure?.how === 'revoked') {
    return { state: 'revoked', reason: `removed by the operator at ${departure.at}` }
  }
  if (isEpochAhead) {
    return { state: 'epoch ahead', reason: 'it obeys a later coordinator (--raise-epoch)' }
  }
  if (agent === undefined || agent.session === 0) {
    if (departure !== undefined) return { state: 'left', reason: `in order, at ${departure.at}` }
    if (absence === null)
      return { state: 'lost', reason: 'not heard since the coordinator started' }
    return { state: 'lost', reason: `${absence.reason}, at ${absence.since}` }
  }
  if (isSuspectAt(agent, nowMs)) {
    const seconds = (silenceMs(agent, nowMs) / 1000).toFixed(1)
    return { state: 'suspect', reason: `not heard for ${seconds} s` }
  }
  if (agent.draining) {
    return { state: 'draining', reason: agent.isDrained ? 'by the operator' : 'it is stopping' }
  }
  return { state: 'alive', reason: hindranceOf(agent, nowMs) }
}

const viewOf = (
  member: Member,
  agent: Agent | undefined,
  presence: Pick<Presence, 'seen' | 'absence' | 'isEpochAhead'>,
  nowMs: number,
): AgentView => {
  const { peerId } = member
  const facts = agent?.hello ?? member.facts
  const slots = facts?.slots ?? 0
  const memoryBytes = facts?.memoryBytes ?? 0
  const known = {
    absence: presence.absence(peerId),
    isEpochAhead: presence.isEpochAhead(peerId),
  }
  return {
    agent: member.name === '' ? peerId : member.name,
    peerId,
    ...conditionOf(member, agent, known, nowMs),
    connected: agent !== undefined && agent.session !== 0,
    member: member.departure?.isFinal !== true,
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
    seen: presence.seen(peerId),
  }
}

export const createAgents = (deps: Deps): Agents => {
  const { ledger, membership, roster, apply } = deps
  return {
    list: () =>
      [...membership.members(), ...membership.former()].map((member) =>
        viewOf(member, ledger.agents.get(member.peerId), deps.presence, ledger.lastTickMs),
      ),
    async drain(name, draining) {
      const { peerId } = membership.find(name)
      await membership.setDraining(peerId, draining)
      apply({ type: 'drain', agentId: peerId, draining })
    },
    async remove(name) {
      const { peerId } = membership.find(name)
      // From here on nothing of it is taken, and its key gets no further than the handshake.
      const written = membership.remove(peerId, 'revoked')
      roster.disconnect(peerId)
      deps.disconnect(peerId)
      apply({ type: 'forget', agentId: peerId, reason: 'removed by the operator' })
      await written
    },
    async invite({ uses, expiresMs, labels, lan }) {
      const addresses = deps.addresses()
      if (lan && !mayBeElsewhere(addresses)) {
        const message = 'the mesh listens on loopback only: nobody finds it on a LAN (--mesh)'
        throw new HyperError('BAD_PARAMETER', message)
      }
      const { peerId, key } = await createInvitation()
      const expires = Date.now() + expiresMs
      await membership.addInvite(peerId, { uses, expiresMs: expires, labels })
      const ticket = encodeTicket({
        addresses: lan ? [] : addresses,
        coordinator: deps.coordinator,
        invitation: key,
        expires,
      })
      return { ticket, peerId, expires: new Date(expires).toISOString(), uses }
    },
  }
}
