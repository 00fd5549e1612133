/**
 * The coordinator's composition root: opens the store, fills the ledger, starts mesh and gateway,
 * and closes them in the opposite order. It decides nothing.
 */

import { readFile } from 'node:fs/promises'
import type { Running } from '../daemon/lifecycle.ts'
import { createLog, type Log } from '../daemon/log.ts'
import type { CoordinatorConfig } from '../protocol/daemon.ts'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { onAdvert } from '../protocol/mesh/adverts.ts'
import { handleAgentChannels } from '../protocol/mesh/agent-channel.ts'
import { handleEnrolment } from '../protocol/mesh/enrolment.ts'
import { loadOrCreateIdentity } from '../protocol/mesh/identity.ts'
import { type CoordinatorNode, startCoordinatorNode } from '../protocol/mesh/node.ts'
import { VERSION } from '../protocol/version.ts'
import { createAgents } from './agent-view.ts'
import { writeClientContext, writePrivateFile } from './client-context.ts'
import { startGateway } from './gateway/server.ts'
import type { Overview, Ports } from './ports.ts'
import { openRooms, type Rooms } from './rooms.ts'

const DEFAULT_ACCOUNT = 'default'

const startMesh = async (
  config: CoordinatorConfig,
  rooms: Rooms,
  log: Log,
): Promise<CoordinatorNode> => {
  const { membership, roster, transactions } = rooms
  const node = await startCoordinatorNode({
    key: await loadOrCreateIdentity(`${config.home}/identity`),
    listen: config.mesh,
    announce: config.announce,
    isMember: membership.isMember,
    isInvitation: membership.isInvitation,
    log,
  })
  await handleEnrolment(node, {
    async admit(invitation, peerId) {
      try {
        await membership.admit(invitation, peerId)
        log.info({ peer: peerId }, 'member enrolled')
        return { name: peerId }
      } catch (error) {
        if (error instanceof HyperError) return error
        throw error
      }
    },
  })
  onAdvert(node, (agentId, advert) => transactions.apply({ type: 'advert', agentId, advert }))
  await handleAgentChannels(node, roster.take)
  return node
}

const readTls = async ({ tls }: CoordinatorConfig) => {
  if (tls === null) return null
  const read = (path: string): Promise<Buffer> =>
    readFile(path).catch((cause: unknown) => {
      throw new HyperError('BAD_PARAMETER', `${path} cannot be read: ${messageOf(cause)}`)
    })
  return { cert: await read(tls.certPath), key: await read(tls.keyPath) }
}

/** The default account's token, kept beside the store so that its context can be written again. */
const defaultToken = async (config: CoordinatorConfig, rooms: Rooms): Promise<string | null> => {
  const path = `${config.home}/default-token`
  const kept = await readFile(path, 'utf8').catch(() => null)
  if (rooms.accounts.byName(DEFAULT_ACCOUNT) === null) {
    const { token } = await rooms.accounts.createOperator(DEFAULT_ACCOUNT, config.quota)
    await writePrivateFile(path, token)
    return token
  }
  return kept !== null && rooms.accounts.byToken(kept) !== null ? kept : null
}

const overviewOf = (rooms: Rooms, node: CoordinatorNode, publicUrl: string): Overview => {
  const agents = [...rooms.ledger.agents.values()].filter((agent) => agent.session !== 0)
  const canServe = agents.some((agent) => agent.hello.slots > 0)
  return {
    version: VERSION,
    peerId: node.peerId,
    mesh: node.addresses(),
    publicUrl,
    notReady: canServe ? [] : ['no agent with slots is connected'],
    usage(account) {
      const known = rooms.ledger.accounts.get(account.id)
      return { running: known?.leases ?? 0, waiting: known?.waiting ?? 0 }
    },
  }
}

export const startCoordinator = async (config: CoordinatorConfig): Promise<Running> => {
  const log = createLog('coordinator', config.logFormat)
  let isStopping = false
  const rooms = await openRooms(config, log, () => isStopping)
  const closeRooms = async (): Promise<void> => {
    clearInterval(rooms.tick)
    await rooms.loop.close()
    await rooms.store.close()
  }
  const node = await startMesh(config, rooms, log).catch(async (error: unknown) => {
    await closeRooms()
    throw error
  })
  let publicUrl = config.publicUrl ?? ''
  const ports: Ports = {
    accounts: rooms.accounts,
    funcs: rooms.funcs,
    images: rooms.images,
    calls: rooms.calls,
    logs: rooms.logs,
    agents: createAgents({
      ledger: rooms.ledger,
      membership: rooms.membership,
      roster: rooms.roster,
      apply: rooms.transactions.apply,
      coordinator: node.peerId,
      addresses: node.addresses,
      disconnect: node.disconnect,
    }),
    overview: () => overviewOf(rooms, node, publicUrl),
  }
  const stopMesh = async (): Promise<void> => {
    await rooms.roster.close()
    await node.stop()
  }
  const gateway = await startGateway({
    ports,
    listenHost: config.listenHost,
    listenPort: config.listenPort,
    insecure: config.insecure,
    tls: await readTls(config),
    log,
    isStopping: () => isStopping,
  }).catch(async (error: unknown) => {
    await stopMesh()
    await closeRooms()
    throw error
  })
  if (publicUrl === '') publicUrl = gateway.url
  const token = await defaultToken(config, rooms)
  if (token !== null) {
    await writeClientContext(config.clientConfigPath, DEFAULT_ACCOUNT, gateway.url, token)
  }
  log.info({ url: gateway.url, epoch: rooms.epoch, mesh: node.addresses() }, 'coordinator ready')
  return {
    ready: {
      url: publicUrl,
      peerId: node.peerId,
      listen: `${gateway.host}:${gateway.port}`,
      mesh: node.addresses(),
    },
    log,
    ended: new Promise(() => undefined),
    async stop() {
      isStopping = true
      await gateway.close()
      await stopMesh()
      await closeRooms()
    },
  }
}
