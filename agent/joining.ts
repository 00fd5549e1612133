/**
 * How an agent becomes a member. A ticket is spent only where it is not a member of that coordinator. Only
 * the coordinator knows that for certain: an agent can have been removed, and a coordinator set back to a
 * backup from before the agent joined. So one that has joined keeps the ticket (rejoining.ts).
 */

import type { Log } from '../daemon/log.ts'
import { HyperError } from '../protocol/errors.ts'
import { enrol } from '../protocol/mesh/enrolment.ts'
import { decodeTicket, type Ticket } from '../protocol/mesh/ticket.ts'
import { type Key, type Membership, readMembership, writeMembership } from './membership.ts'

interface Settled {
  readonly membership: Membership
  /** Not spent: the agent has joined this coordinator before. */
  readonly spare: Ticket | null
}

/** Joins where need be. Throws NOT_A_MEMBER, TICKET_DAMAGED, TICKET_SPENT, UNREACHABLE … */
export const settleMembership = async (deps: {
  readonly home: string
  readonly ticket: string | null
  readonly key: Key
  readonly log: Log
}): Promise<Settled> => {
  const { home, key, log } = deps
  const present = await readMembership(home)
  if (deps.ticket === null) {
    if (present !== null) return { membership: present, spare: null }
    throw new HyperError('NOT_A_MEMBER', 'this agent belongs to no coordinator yet')
  }
  const ticket = decodeTicket(deps.ticket)
  const { coordinator } = ticket
  const addresses = [...ticket.addresses]
  if (present?.coordinator === coordinator) {
    return { membership: await writeMembership(home, { ...present, addresses }), spare: ticket }
  }
  const { name } = await enrol({ ticket, key, log })
  log.info({ coordinator, name }, 'enrolled')
  return { membership: await writeMembership(home, { coordinator, addresses, name }), spare: null }
}
