/**
 * Who belongs to the mesh: members by the peer ids of their keys, and invitations, each a key of its
 * own that may enrol a number of others for a time (see Membership is by key in ARCHITECTURE.md).
 * Rows: member/PEER, invite/PEER.
 *
 *   (none) ── admit ──► member ── remove ──► former: shown for a while ── admit ──► member
 *                         │ ▲
 *                  leave  ▼ │ introduce
 *                       member that left in order
 *
 * What a member last said of itself is kept with it, so that placement knows of an absent one what
 * it could run. The labels of its invitation are the operator's word: they stand over those that the
 * host says of itself, because calls are kept to hosts by them (`--constraint`), and a host must not
 * get calls that the operator meant for others by saying otherwise.
 *
 *   open ─┬─ its last use ─► spent ───┬─► forgotten, a while after its time
 *         └─ its time ─► expired ─────┘
 *
 * A dead one opens nothing: it is known so that the log can tell a late guest from a stranger. An
 * invitation's time is told by this host's own clock and by no other.
 */

import Type, { type Static } from 'typebox'
import { type ErrorCode, HyperError } from '../protocol/errors.ts'
import { type Labels, LabelsSchema } from '../protocol/labels.ts'
import { limits } from '../protocol/limits.ts'
import { type AgentFacts, AgentFactsSchema } from '../protocol/messages.ts'
import { createParser } from '../protocol/schema.ts'
import { del, type Operation, put, type Store } from './store/store.ts'

const MemberRowSchema = Type.Object({
  peerId: Type.String(),
  /** The host's name, made unique; given at its first hello. '' until then. */
  name: Type.String(),
  joined: Type.String(),
  facts: Type.Union([AgentFactsSchema, Type.Null()]),
  /** The operator wants it to take no calls, also when it comes back. */
  draining: Type.Boolean(),
  /** It went in order, or was sent away. */
  departure: Type.Optional(
    Type.Object({
      how: Type.Union([Type.Literal('left'), Type.Literal('revoked')]),
      at: Type.String(),
      /** It is no member any more: its key gets no further than the handshake. */
      isFinal: Type.Boolean(),
    }),
  ),
  /** Of its invitation. */
  labels: Type.Optional(LabelsSchema),
})
export type Member = Static<typeof MemberRowSchema>

const InviteRowSchema = Type.Object({
  peerId: Type.String(),
  usesLeft: Type.Integer({ minimum: 0 }),
  expiresMs: Type.Integer(),
  /** What its members are labelled with. */
  labels: Type.Optional(LabelsSchema),
})
type InviteRow = Static<typeof InviteRowSchema>

const parseMember = createParser(MemberRowSchema, 'STATE_DAMAGED', 'stored member')
const parseInvite = createParser(InviteRowSchema, 'STATE_DAMAGED', 'stored invitation')

interface Invitation {
  readonly uses: number
  /** Milliseconds since the epoch. */
  readonly expiresMs: number
  readonly labels: Labels
}

export interface Membership {
  isMember(peerId: string): boolean
  /** On the list for enrolling, with uses and time left. */
  isInvitation(peerId: string): boolean
  members(): readonly Member[]
  /** Those that are none any more. */
  former(): readonly Member[]
  get(peerId: string): Member | null
  /** By name, peer id or unique prefix of it. AGENT_NOT_FOUND */
  find(agent: string): Member
  /** Why a key is turned away: TICKET_SPENT, TICKET_EXPIRED, else NOT_A_MEMBER. */
  refusalOf(peerId: string): ErrorCode
  /** Spends one use. TICKET_SPENT, TICKET_EXPIRED, TOO_MANY. A key that is a member already spends nothing. */
  admit(invitation: string, peerId: string): Promise<void>
  addInvite(peerId: string, invitation: Invitation): Promise<void>
  /** What a member said in its hello; its name, given at the first one, and all its labels. */
  introduce(peerId: string, said: AgentFacts): Pick<Member, 'name'> & Pick<AgentFacts, 'labels'>
  setDraining(peerId: string, draining: boolean): Promise<void>
  /** It has stopped in order, and may come back. */
  leave(peerId: string): void
  /** It is no member from this moment on, by its own wish or by the operator's. */
  remove(peerId: string, how: 'left' | 'revoked'): Promise<void>
  /** Forgets invitations that are dead for long or too many, and members that left long ago. */
  expire(): void
}

interface Deps {
  readonly store: Pick<Store, 'scan'>
  readonly record: (operations: readonly Operation[]) => void
  readonly write: (operations: readonly Operation[]) => Promise<void>
  readonly wallMs: () => number
}

export const loadMembership = async (deps: Deps): Promise<Membership> => {
  const { store, record, write, wallMs } = deps
  const members = new Map<string, Member>()
  const former = new Map<string, Member>()
  const invites = new Map<string, InviteRow>()
  await store.scan('member', (key, value) => {
    const member = parseMember(value)
    const kind = member.departure?.isFinal === true ? former : members
    kind.set(key, member)
  })
  await store.scan('invite', (key, value) => void invites.set(key, parseInvite(value)))

  const isOpen = (invite: InviteRow | undefined): invite is InviteRow =>
    invite !== undefined && invite.usesLeft > 0 && invite.expiresMs > wallMs()

  const departureOf = (
    how: 'left' | 'revoked',
    isFinal: boolean,
  ): NonNullable<Member['departure']> => ({
    ...{ how, isFinal },
    at: new Date(wallMs()).toISOString(),
  })
  const isLongGone = ({ departure }: Member): boolean =>
    departure !== undefined && Date.parse(departure.at) + limits.formerMemberMs < wallMs()

  const refusalOf = (peerId: string): ErrorCode => {
    const invite = invites.get(peerId)
    if (invite === undefined) return 'NOT_A_MEMBER'
    return invite.usesLeft > 0 ? 'TICKET_EXPIRED' : 'TICKET_SPENT'
  }

  const freeName = (host: string): string => {
    const taken = new Set([...members.values()].map((member) => member.name))
    const base = host === '' ? 'agent' : host
    if (!taken.has(base)) return base
    for (let number = 2; ; number += 1) {
      if (!taken.has(`${base}-${number}`)) return `${base}-${number}`
    }
  }

  return {
    isMember: (peerId) => members.has(peerId),
    isInvitation: (peerId) => isOpen(invites.get(peerId)),
    refusalOf,
    members: () => [...members.values()],
    former: () => [...former.values()],
    get: (peerId) => members.get(peerId) ?? null,
    find(agent) {
      const all = [...members.values()]
      // An agent names itself: it must not take the place of one that is asked for by its key.
      const exact = members.get(agent) ?? all.find((member) => member.name === agent)
      const prefixed = all.filter((member) => agent !== '' && member.peerId.startsWith(agent))
      const found = exact ?? (prefixed.length === 1 ? prefixed[0] : undefined)
      if (found === undefined) throw new HyperError('AGENT_NOT_FOUND', `no such agent: ${agent}`)
      return found
    },
    async admit(invitation, peerId) {
      if (members.has(peerId)) return
      const invite = invites.get(invitation)
      if (!isOpen(invite)) {
        throw refusalOf(invitation) === 'TICKET_EXPIRED'
          ? new HyperError('TICKET_EXPIRED', 'the ticket has expired')
          : new HyperError('TICKET_SPENT', 'the ticket is spent')
      }
      if (members.size >= limits.membersMax) {
        throw new HyperError('TOO_MANY', `the mesh has ${limits.membersMax} members already`)
      }
      const spent = { ...invite, usesLeft: invite.usesLeft - 1 }
      const member: Member = {
        peerId,
        name: '',
        joined: new Date(wallMs()).toISOString(),
        facts: null,
        draining: false,
        ...(invite.labels === undefined ? {} : { labels: invite.labels }),
      }
      invites.set(invitation, spent)
      members.set(peerId, member)
      former.delete(peerId)
      await write([put('member', peerId, member), put('invite', invitation, spent)])
    },
    async addInvite(peerId, { uses, expiresMs, labels }) {
      const row: InviteRow = {
        ...{ peerId, usesLeft: uses, expiresMs },
        ...(Object.keys(labels).length === 0 ? {} : { labels }),
      }
      invites.set(peerId, row)
      await write([put('invite', peerId, row)])
    },
    introduce(peerId, said) {
      const known = members.get(peerId)
      if (known === undefined) throw new HyperError('NOT_A_MEMBER', `${peerId} is not a member`)
      const { departure: _, ...rest } = known
      const labels = { ...said.labels, ...known.labels }
      const member: Member = {
        ...rest,
        name: known.name === '' ? freeName(said.host) : known.name,
        facts: { ...said, labels },
      }
      members.set(peerId, member)
      record([put('member', peerId, member)])
      return { name: member.name, labels }
    },
    async setDraining(peerId, draining) {
      const known = members.get(peerId)
      if (known === undefined) return
      const member = { ...known, draining }
      members.set(peerId, member)
      await write([put('member', peerId, member)])
    },
    leave(peerId) {
      const known = members.get(peerId)
      if (known === undefined) return
      const member: Member = { ...known, departure: departureOf('left', false) }
      members.set(peerId, member)
      record([put('member', peerId, member)])
    },
    async remove(peerId, how) {
      const known = members.get(peerId)
      if (known === undefined) return
      members.delete(peerId)
      // As the latest of them: the map is in the order of their going.
      const member: Member = { ...known, departure: departureOf(how, true) }
      former.set(peerId, member)
      const [oldest] = former.keys()
      const isFull = oldest !== undefined && former.size > limits.formerMembersMax
      if (isFull) former.delete(oldest)
      await write([put('member', peerId, member), ...(isFull ? [del('member', oldest)] : [])])
    },
    expire() {
      const nowMs = wallMs()
      const dead = [...invites.values()].filter((invite): boolean => !isOpen(invite))
      const old = dead.filter(({ expiresMs }) => expiresMs + limits.inviteKeptMs <= nowMs)
      const excess = dead.length - limits.invitesKeptMax
      const forgotten =
        excess > old.length
          ? dead.sort((one, other) => one.expiresMs - other.expiresMs).slice(0, excess)
          : old
      for (const { peerId } of forgotten) invites.delete(peerId)
      const gone = [...former.values()].filter(isLongGone)
      for (const { peerId } of gone) former.delete(peerId)
      if (forgotten.length + gone.length === 0) return
      record([
        ...forgotten.map(({ peerId }) => del('invite', peerId)),
        ...gone.map(({ peerId }) => del('member', peerId)),
      ])
    },
  }
}

/** As an enrolment asks for it: a refusal is an answer, and no fault. */
export const admitInto =
  (membership: Pick<Membership, 'admit'>) =>
  async (invitation: string, peerId: string): Promise<{ readonly name: string } | HyperError> => {
    try {
      await membership.admit(invitation, peerId)
      return { name: peerId }
    } catch (error) {
      if (error instanceof HyperError) return error
      throw error
    }
  }
