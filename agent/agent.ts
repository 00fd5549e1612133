/**
 * Composition root of the agent: builds its parts from a configuration, in the order in which they
 * need each other, and takes them down in the reverse one.
 *
 * It starts without an engine as well, says so, and takes calls once one answers. `stop` drains:
 * no new calls; those that run end within the drain time, else they are stopped and handed back.
 */

import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { claimFolder } from '../daemon/level.ts'
import type { Running } from '../daemon/lifecycle.ts'
import { createLog, type Log } from '../daemon/log.ts'
import type { AgentConfig } from '../protocol/daemon.ts'
import { toHyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { publishAdvert } from '../protocol/mesh/adverts.ts'
import { openAgentChannel } from '../protocol/mesh/agent-channel.ts'
import { enrol } from '../protocol/mesh/enrolment.ts'
import { startAgentNode } from '../protocol/mesh/node.ts'
import { decodeTicket } from '../protocol/mesh/ticket.ts'
import { type Hello, PROTOCOL_VERSION, type Welcome } from '../protocol/messages.ts'
import { VERSION } from '../protocol/version.ts'
import { type Advertiser, startAdvertiser } from './advertiser.ts'
import { machineClock } from './clock.ts'
import { type Connection, startConnection } from './connection.ts'
import { openEarly } from './first-channel.ts'
import {
  addressesOf,
  forgetMembership,
  openAddressBook,
  settleIdentity,
  settleMembership,
} from './membership.ts'
import { openPremises, type Premises } from './premises.ts'
import { createPullOrders } from './pull-orders.ts'
import { createEntrance } from './rejoining.ts'
import { together } from './together.ts'

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

/** Lets running calls end, stops the others, and waits for the last words to be taken. */
const drain = async (
  { attempts }: Premises,
  { drainMs, ackMs }: { readonly drainMs: number; readonly ackMs: number },
  log: Log,
): Promise<void> => {
  attempts.drain(true)
  const isQuiet = (): boolean => attempts.isQuiet()
  try {
    await attempts.until(isQuiet, AbortSignal.timeout(drainMs))
  } catch {
    log.warn('calls did not end within the drain time: they are stopped and handed back')
    attempts.leave()
    await attempts.until(isQuiet, AbortSignal.timeout(limits.startMsMax)).catch(() => undefined)
  }
  const isTaken = (): boolean => attempts.unacknowledged() === 0
  await attempts.until(isTaken, AbortSignal.timeout(ackMs)).catch(() => {
    log.warn('results stay in the outbox until the next start')
  })
}

type Key = Awaited<ReturnType<typeof settleIdentity>>

/** Becomes a member where need be, and opens the way to the coordinator. */
const reachCoordinator = async (config: AgentConfig, key: Key, log: Log) => {
  const { membership, spare } = await settleMembership({ ...config, key, log })
  const { coordinator } = membership
  const node = await startAgentNode({ key, coordinator, addresses: addressesOf(membership), log })
  const channel = openEarly((signal) => openAgentChannel(node, signal))
  return {
    ...{ node, membership, spare, open: channel.open },
    async close() {
      await channel.close()
      await node.stop()
    },
  }
}

type Reached = Awaited<ReturnType<typeof reachCoordinator>>

const joinMesh = (
  premises: Premises,
  config: AgentConfig,
  key: Key,
  { node, membership, spare, open, close }: Reached,
  protocol: number,
  log: Log,
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
    ...{ node, connection, membership },
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

type Mesh = ReturnType<typeof joinMesh>

/** A dial that succeeds is not yet joined: only the answer to hello is. */
const untilWelcomed = async (
  { connection, membership }: Mesh,
  progress: (message: string) => void,
  stopping: AbortSignal | undefined,
): Promise<void> => {
  const late = pause(FIRST_WELCOME_MS, 'late' as const, { ref: false, signal: stopping }).catch(
    () => 'stopping' as const,
  )
  const first = await Promise.race([connection.welcomed, connection.ended, late])
  if (first !== 'late') return
  const { coordinator, addresses } = membership
  progress(
    `Not ready yet: waiting for the welcome of coordinator ${coordinator} at ${addresses.join(', ')}; trying on.`,
  )
}

/** Whether it did. Results that nobody has taken are told at the next start: for that it stays a member. */
const leaveMesh = async (
  { attempts }: Premises,
  { connection }: Mesh,
  { home }: AgentConfig,
  log: Log,
): Promise<boolean> => {
  const hasLeft = attempts.unacknowledged() === 0 && (await connection.leave())
  if (!hasLeft) log.warn({ home }, 'the coordinator was not told: the agent is still a member')
  return hasLeft
}

const stopAgent = async (
  premises: Premises,
  mesh: Mesh,
  config: AgentConfig,
  log: Log,
): Promise<void> => {
  // One that was removed waits for nothing: its calls run elsewhere, and nobody takes its results.
  const none = { drainMs: 0, ackMs: 0 }
  const times = mesh.isRevoked() ? none : { drainMs: config.drainMs, ackMs: limits.helloMs }
  await drain(premises, times, log)
  const hasLeft = config.adHoc && (await leaveMesh(premises, mesh, config, log))
  await mesh.close()
  // What it learned is written until then.
  if (hasLeft) await forgetMembership(config.home)
  await premises.close()
}

/** `protocol`: the version that it speaks, where it is to be one of an earlier hyper. */
export const startAgent = async (
  config: AgentConfig,
  progress: (message: string) => void,
  stopping?: AbortSignal,
  protocol: number = PROTOCOL_VERSION,
): Promise<Running> => {
  const log = createLog('agent', config.logFormat)
  // A damaged ticket is told before anything is made or started for it.
  if (config.ticket !== null) decodeTicket(config.ticket)
  await claimFolder(config.home)
  const key = await settleIdentity({ ...config, log })
  const agentId = peerIdFromPrivateKey(key).toString()
  // The coordinator is reached while the engine is tried: a host serves the sooner.
  const opening = openPremises({ ...config, agentId }, log, progress)
  const reaching = reachCoordinator(config, key, log)
  try {
    await together([opening, reaching])
  } catch (error) {
    const close = (part: { close(): Promise<void> }): Promise<void> => part.close()
    for (const part of [opening, reaching]) await part.then(close, () => undefined)
    throw error
  }
  const premises = await opening
  const mesh = joinMesh(premises, config, key, await reaching, protocol, log)
  try {
    await untilWelcomed(mesh, progress, stopping)
  } catch (error) {
    await mesh.close()
    await premises.close()
    throw error
  }
  return {
    ready: { url: '', peerId: mesh.node.peerId, listen: '', mesh: [] },
    log,
    serving: mesh.connection.welcomed,
    ended: mesh.connection.ended,
    stop: () => stopAgent(premises, mesh, config, log),
  }
}
