/**
 * How an agent becomes a member. A ticket is spent only where it is not a member of that coordinator. Only
 * the coordinator knows that for certain: an agent can have been removed, and a coordinator set back to a
 * backup from before the agent joined. So one that has joined keeps the ticket (rejoining.ts). And an
 * enrolment may have counted though its answer was lost: so one whose ticket is spent, or has expired since,
 * looks whether it is a member.
 */

import type { Log } from '../daemon/log.ts'
import { HyperError, toHyperError } from '../protocol/errors.ts'
import { openAgentChannel } from '../protocol/mesh/agent-channel.ts'
import { enrol } from '../protocol/mesh/enrolment.ts'
import { startAgentNode } from '../protocol/mesh/node.ts'
import { decodeTicket, type Ticket } from '../protocol/mesh/ticket.ts'
import { type Key, type Membership, readMembership, writeMembership } from './membership.ts'

interface Settled {
  readonly membership: Membership
  /** Not spent: the agent has joined this coordinator before. */
  readonly spare: Ticket | null
}

interface Joining {
  readonly ticket: Ticket
  readonly key: Key
  readonly log: Log
}

/** Whether the coordinator opens its door to this key. */
const isLetIn = async ({ ticket, key, log }: Joining): Promise<boolean> => {
  const { coordinator, addresses } = ticket
  const node = await startAgentNode({ key, coordinator, addresses, log })
  try {
    const channel = await openAgentChannel(node)
    await channel.close()
    return true
  } catch {
    return false
  } finally {
    await node.stop()
  }
}

/** The name that it was given; '' where the answer that told it was lost. */
const join = async (joining: Joining): Promise<string> => {
  try {
    return (await enrol(joining)).name
  } catch (error) {
    const { code } = toHyperError(error)
    const isDead = code === 'TICKET_SPENT' || code === 'TICKET_EXPIRED'
    if (isDead && (await isLetIn(joining))) return ''
    throw error
  }
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
  const name = await join({ ticket, key, log })
  log.info({ coordinator, name }, 'enrolled')
  return { membership: await writeMembership(home, { coordinator, addresses, name }), spare: null }
}
