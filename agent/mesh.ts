/**
 * Everything of an agent that is on the mesh, over its premises: membership, node, channel, adverts. It is
 * loaded by agent.ts when the engine is tried already: to load libp2p takes as long as that.
 */

import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '../daemon/log.ts'
import type { AgentConfig } from '../protocol/daemon.ts'
import { toHyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { publishAdvert } from '../protocol/mesh/adverts.ts'
import { type AgentChannel, openAgentChannel } from '../protocol/mesh/agent-channel.ts'
import { enrol } from '../protocol/mesh/enrolment.ts'
import { type AgentNode, startAgentNode } from '../protocol/mesh/node.ts'
import type { Ticket } from '../protocol/mesh/ticket.ts'
import type { Hello, Welcome } from '../protocol/messages.ts'
import { VERSION } from '../protocol/version.ts'
import { type Advertiser, startAdvertiser } from './advertiser.ts'
import { machineClock } from './clock.ts'
import { type Connection, startConnection } from './connection.ts'
import { openEarly } from './first-channel.ts'
import { settleMembership } from './joining.ts'
import { addressesOf, type Key, type Membership, openAddressBook } from './membership.ts'
import type { Premises } from './premises.ts'
import { createPullOrders } from './pull-orders.ts'
import { createEntrance } from './rejoining.ts'

/** Of this process, which has one agent: its store may be a copy of another’s. */
const INSTANCE = randomUUID()

/** How long a start waits for the first welcome before it says that it waits, and for what. */
const FIRST_WELCOME_MS = limits.dialMs + limits.helloMs

const describe = (
  premises: Premises,
  config: AgentConfig,
  greeting: number,
  protocol: number,
): Hello => {
  const { attempts, outbox } = premises
  return {
    type: 'hello',
    protocol,
    version: VERSION,
    storeId: outbox.storeId,
    start: outbox.start,
    greeting,
    instance: INSTANCE,
    host: hostname(),
    ...premises.hostFacts(),
    labels: config.labels,
    ...attempts.hello(),
  }
}

interface MeshDeps {
  readonly config: AgentConfig
  readonly key: Key
  /** The version of the protocol that it speaks. */
  readonly protocol: number
  readonly log: Log
}

/** Becomes a member where need be, and opens the way to the coordinator. */
export const reachCoordinator = async (deps: MeshDeps) => {
  const { key, log } = deps
  const { membership, spare } = await settleMembership({ ...deps.config, key, log })
  const { coordinator } = membership
  const node = await startAgentNode({ key, coordinator, addresses: addressesOf(membership), log })
  const channel = openEarly((signal) => openAgentChannel(node, signal))
  const close = async (): Promise<void> => {
    await channel.close()
    await node.stop()
  }
  const reached = { node, membership, spare, open: channel.open, close }
  return { close, join: (premises: Premises) => joinMesh(deps, reached, premises) }
}

interface Reached {
  readonly node: AgentNode
  readonly membership: Membership
  /** A ticket that was not spent. */
  readonly spare: Ticket | null
  readonly open: (signal: AbortSignal) => Promise<AgentChannel>
  readonly close: () => Promise<void>
}

const joinMesh = (
  { config, key, protocol, log }: MeshDeps,
  { node, membership, spare, open, close }: Reached,
  premises: Premises,
) => {
  const { attempts, images, disk } = premises
  const { coordinator } = membership
  const addressBook = openAddressBook(config.home, membership, log)
  const entrance = createEntrance({
    open,
    async enrol(ticket, signal) {
      await enrol({ ticket, key, log, signal })
      log.info({ coordinator }, 'enrolled anew: the coordinator did not know this agent any more')
    },
    spare,
  })
  const advertiser: Advertiser = startAdvertiser({
    ...{ attempts, disk, images, log, isReady: premises.isReady },
    ready: premises.pool.ready,
    publish: (advert) => publishAdvert(node, advert),
    ...{ clock: machineClock, random: Math.random },
  })
  const onWelcome = ({ addresses = [] }: Welcome): void => {
    entrance.welcomed()
    const [reached] = node.whereabouts.addresses()
    node.whereabouts.learn(addressBook.learn(reached, addresses))
    advertiser.changed()
  }
  let greetings = 0
  const connection: Connection = startConnection({
    ...{ attempts, log, onWelcome },
    open: entrance.open,
    hello() {
      greetings += 1
      return describe(premises, config, greetings, protocol)
    },
    hostFacts: premises.hostFacts,
    createPulls: (send) => createPullOrders({ images, log, send, onEnd: advertiser.changed }),
  })
  premises.setOnChange(() => {
    advertiser.changed()
    connection.refresh()
  })
  let isRevoked = false
  connection.ended.catch((error: unknown) => {
    isRevoked = toHyperError(error).code === 'NOT_A_MEMBER'
  })
  return {
    peerId: node.peerId,
    welcomed: connection.welcomed,
    ended: connection.ended,
    /** A dial that succeeds is not yet joined: only the answer to hello is. */
    untilWelcomed: (progress: (message: string) => void, stopping: AbortSignal | undefined) =>
      untilWelcomed(connection, membership, progress, stopping),
    /** Whether it did. Results that nobody has taken are told at the next start: for that it stays a member. */
    async leave(): Promise<boolean> {
      const hasLeft = attempts.unacknowledged() === 0 && (await connection.leave())
      const { home } = config
      if (!hasLeft) log.warn({ home }, 'the coordinator was not told: the agent is still a member')
      return hasLeft
    },
    /** What it runs is run elsewhere: nobody takes its results. */
    isRevoked: () => isRevoked,
    async close() {
      await connection.close()
      await addressBook.close()
      await advertiser.close()
      await close()
    },
  }
}

export type Mesh = ReturnType<typeof joinMesh>

const untilWelcomed = async (
  connection: Connection,
  { coordinator, addresses }: Membership,
  progress: (message: string) => void,
  stopping: AbortSignal | undefined,
): Promise<void> => {
  const late = pause(FIRST_WELCOME_MS, 'late' as const, { ref: false, signal: stopping }).catch(
    () => 'stopping' as const,
  )
  const first = await Promise.race([connection.welcomed, connection.ended, late])
  if (first !== 'late') return
  progress(
    `Not ready yet: waiting for the welcome of coordinator ${coordinator} at ${addresses.join(', ')}; trying on.`,
  )
}
