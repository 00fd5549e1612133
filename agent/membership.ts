/**
 * Which mesh this agent belongs to: one file in its home with the coordinator's peer id and
 * addresses. A ticket is spent only where the agent is not yet a member of that coordinator; else
 * it only brings addresses. What it is a member with is its key: where that is lost, so is the
 * membership.
 */

import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import Type, { type Static } from 'typebox'
import type { Log } from '../daemon/log.ts'
import { HyperError, isMissing } from '../protocol/errors.ts'
import { enrol } from '../protocol/mesh/enrolment.ts'
import { createIdentity, readIdentity } from '../protocol/mesh/identity.ts'
import { decodeTicket } from '../protocol/mesh/ticket.ts'
import { writePrivateFile } from '../protocol/private-file.ts'
import { createParser } from '../protocol/schema.ts'

const MembershipSchema = Type.Object({
  /** Peer id. */
  coordinator: Type.String(),
  addresses: Type.Array(Type.String()),
  /** What the coordinator calls us. */
  name: Type.String(),
})
export type Membership = Static<typeof MembershipSchema>

type Key = Parameters<typeof enrol>[0]['key']

const parseMembership = createParser(MembershipSchema, 'STATE_DAMAGED', 'membership of the agent')

const pathIn = (home: string): string => join(home, 'membership.json')

const read = async (home: string): Promise<Membership | null> => {
  let text: string
  try {
    text = await readFile(pathIn(home), 'utf8')
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
  try {
    return parseMembership(JSON.parse(text))
  } catch (cause) {
    throw new HyperError('STATE_DAMAGED', `${pathIn(home)} cannot be read`, { cause })
  }
}

const write = async (home: string, membership: Membership): Promise<Membership> => {
  await writePrivateFile(pathIn(home), `${JSON.stringify(membership)}\n`)
  return membership
}

/**
 * The agent's key, made where there is none and nothing was joined with one; a lost one is replaced
 * only where a ticket lets the new one join. Throws NOT_A_MEMBER, STATE_DAMAGED.
 */
export const settleIdentity = async (deps: {
  readonly home: string
  readonly ticket: string | null
  readonly log: Pick<Log, 'warn'>
}): Promise<Key> => {
  const path = join(deps.home, 'identity')
  const key = await readIdentity(path)
  if (key !== null) return key
  if ((await read(deps.home)) !== null) {
    const loss = `${path} is lost, the key with which this agent was a member`
    if (deps.ticket === null) throw new HyperError('NOT_A_MEMBER', loss)
    deps.log.warn({ loss }, 'the agent joins anew; calls that it ran count as lost')
    await forgetMembership(deps.home)
  }
  return createIdentity(path)
}

/** Joins where need be. Throws NOT_A_MEMBER, TICKET_DAMAGED, TICKET_SPENT, UNREACHABLE … */
export const settleMembership = async (deps: {
  readonly home: string
  readonly ticket: string | null
  readonly key: Key
  readonly log: Log
}): Promise<Membership> => {
  const { home, key, log } = deps
  const present = await read(home)
  if (deps.ticket === null) {
    if (present !== null) return present
    throw new HyperError('NOT_A_MEMBER', 'this agent belongs to no coordinator yet')
  }
  const ticket = decodeTicket(deps.ticket)
  const { coordinator } = ticket
  const addresses = [...ticket.addresses]
  if (present?.coordinator === coordinator) return write(home, { ...present, addresses })
  const { name } = await enrol({ ticket, key, log })
  log.info({ coordinator, name }, 'enrolled')
  return write(home, { coordinator, addresses, name })
}

/** The agent leaves for good: the next start needs a ticket. */
export const forgetMembership = (home: string): Promise<void> => rm(pathIn(home), { force: true })
