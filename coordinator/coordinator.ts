/**
 * The coordinator's composition root: checks what it was told (start-check.ts), opens the rooms
 * (rooms.ts), starts mesh and gateway before them, and closes them in the opposite order. It decides
 * nothing.
 */

import { readFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import type { Running } from '../daemon/lifecycle.ts'
import { createLog, type Log } from '../daemon/log.ts'
import type { CoordinatorConfig } from '../protocol/daemon.ts'
import { isMissing } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { onAdvert } from '../protocol/mesh/adverts.ts'
import { handleAgentChannels, type MemberChannel } from '../protocol/mesh/agent-channel.ts'
import { handleEnrolment } from '../protocol/mesh/enrolment.ts'
import { type CoordinatorNode, startCoordinatorNode } from '../protocol/mesh/node.ts'
import { reachableAddresses } from '../protocol/mesh/reach.ts'
import { writePrivateFile } from '../protocol/private-file.ts'
import { VERSION } from '../protocol/version.ts'
import { newToken } from './accounts.ts'
import { withAdmission } from './admission.ts'
import { createAgents } from './agent-view.ts'
import { createBackups } from './backup.ts'
import { writeClientContext } from './client-context.ts'
import { startGateway } from './gateway/server.ts'
import { guardMesh } from './guard.ts'
import { admitInto } from './membership.ts'
import type { Overview, Ports } from './ports.ts'
import { openRooms, type Rooms } from './rooms.ts'
import { checkStart } from './start-check.ts'

const DEFAULT_ACCOUNT = 'default'

/** What the operator announces is told as it is; else what others can reach of where it listens. */
const addressesToTell = ({ announce }: CoordinatorConfig, node: CoordinatorNode) =>
  announce.length > 0 ? node.addresses() : reachableAddresses(node.addresses(), networkInterfaces())

const startMesh = async (
  config: CoordinatorConfig,
  rooms: Rooms,
  log: Log,
): Promise<CoordinatorNode> => {
  const { key, membership, roster, transactions } = rooms
  const node = await startCoordinatorNode({
    key,
    listen: config.mesh,
    announce: config.announce,
    isMember: membership.isMember,
    isInvitation: membership.isInvitation,
    refusalOf: membership.refusalOf,
    log,
  })
  await handleEnrolment(node, { admit: admitInto(membership) })
  const guard = guardMesh(node, log, performance.now.bind(performance))
  const onHeard = guard.adverts((agentId, advert) =>
    transactions.apply({ type: 'advert', agentId, advert }),
  )
  onAdvert(node, onHeard, guard.offended)
  const take = (channel: MemberChannel): void => {
    const told = addressesToTell(config, node).filter(
      (address) => address.length <= limits.addressCharsMax,
    )
    roster.take(channel, told.slice(0, limits.ticketAddressesMax))
  }
  await handleAgentChannels(node, guard.channels(take))
  return node
}

/**
 * The default account's token, kept beside the store so that its context can be written again. It
 * is on disk before its account is, so a crash between the two leaves no account without a token.
 */
const defaultToken = async (config: CoordinatorConfig, rooms: Rooms): Promise<string | null> => {
  const path = `${config.home}/default-token`
  if (rooms.accounts.byName(DEFAULT_ACCOUNT) === null) {
    const token = newToken()
    await writePrivateFile(path, token)
    await rooms.accounts.createOperator(DEFAULT_ACCOUNT, config.quota ?? limits.quotaDefault, token)
    return token
  }
  const kept = await readFile(path, 'utf8').catch((error: unknown) => {
    if (isMissing(error)) return null
    throw error
  })
  return kept !== null && rooms.accounts.byToken(kept) !== null ? kept : null
}

/** The flag is for the account that a first start makes. */
const tellKeptQuota = ({ quota }: CoordinatorConfig, { accounts }: Rooms, log: Log): void => {
  const kept = accounts.byName(DEFAULT_ACCOUNT)?.quota
  if (quota === null || quota === kept) return
  const change = `hyper account set ${DEFAULT_ACCOUNT} --quota ${quota}`
  log.warn({ quota: kept, change }, '--quota is not applied: the account keeps its quota')
}

const overviewOf = (rooms: Rooms, node: CoordinatorNode): Overview => {
  const agents = [...rooms.ledger.agents.values()].filter((agent) => agent.session !== 0)
  const canServe = agents.some((agent) => agent.hello.slots > 0)
  const trouble = rooms.diskRoom.trouble()
  return {
    version: VERSION,
    peerId: node.peerId,
    mesh: node.addresses(),
    notReady: [
      ...(canServe ? [] : ['no agent with slots is connected']),
      ...(trouble === null ? [] : [trouble.message]),
    ],
    usage(account) {
      const known = rooms.ledger.accounts.get(account.id)
      return { running: known?.leases ?? 0, waiting: known?.waiting ?? 0 }
    },
  }
}

const portsOf = (
  config: CoordinatorConfig,
  rooms: Rooms,
  node: CoordinatorNode,
  publicUrl: () => string,
  log: Log,
): Ports => ({
  accounts: rooms.accounts,
  funcs: rooms.funcs,
  images: rooms.images,
  calls: rooms.calls,
  logs: rooms.logs,
  agents: createAgents({
    ledger: rooms.ledger,
    membership: rooms.membership,
    roster: rooms.roster,
    presence: rooms.presence,
    apply: rooms.transactions.apply,
    coordinator: node.peerId,
    addresses: () => addressesToTell(config, node),
    disconnect: node.disconnect,
  }),
  backups: createBackups({
    ...{ store: rooms.store, settled: rooms.transactions.settled, epoch: rooms.epoch },
    home: config.home,
    wall: () => new Date().toISOString(),
    log,
  }),
  publicUrl,
  overview: () => overviewOf(rooms, node),
})

type Closers = (() => Promise<void>)[]

/** The last opened first. */
const closeAll = async (closers: Closers): Promise<void> => {
  for (const close of closers.splice(0).reverse()) await close()
}

const open = async (
  config: CoordinatorConfig,
  log: Log,
  closers: Closers,
  isStopping: () => boolean,
): Promise<Running['ready']> => {
  const tls = await checkStart(config)
  const rooms = await openRooms(config, log, isStopping)
  closers.push(rooms.close)
  const node = await startMesh(config, rooms, log)
  closers.push(node.stop, rooms.roster.close)
  let publicUrl = config.publicUrl ?? ''
  const gateway = await startGateway({
    ports: withAdmission(
      portsOf(config, rooms, node, () => publicUrl, log),
      rooms.diskRoom.check,
    ),
    listenHost: config.listenHost,
    listenPort: config.listenPort,
    insecure: config.insecure,
    tls,
    log,
    isStopping,
  })
  closers.push(gateway.close)
  if (publicUrl === '') publicUrl = gateway.url
  const token = await defaultToken(config, rooms)
  tellKeptQuota(config, rooms, log)
  if (token !== null) {
    await writeClientContext(config.clientConfigPath, DEFAULT_ACCOUNT, gateway.url, token)
  }
  log.info({ url: gateway.url, epoch: rooms.epoch, mesh: node.addresses() }, 'coordinator ready')
  return {
    url: publicUrl,
    peerId: node.peerId,
    listen: `${gateway.host}:${gateway.port}`,
    mesh: node.addresses(),
  }
}

export const startCoordinator = async (config: CoordinatorConfig): Promise<Running> => {
  const log = createLog('coordinator', config.logFormat)
  const closers: Closers = []
  let isStopping = false
  try {
    const ready = await open(config, log, closers, () => isStopping)
    return {
      ready,
      log,
      ended: new Promise(() => undefined),
      async stop() {
        isStopping = true
        await closeAll(closers)
      },
    }
  } catch (error) {
    await closeAll(closers)
    throw error
  }
}
