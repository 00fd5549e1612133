/**
 * The coordinator's composition root: opens the store, fills the ledger, starts mesh and gateway,
 * and closes them in the opposite order. It decides nothing.
 */

import { readFile } from 'node:fs/promises'
import { createClock } from '../daemon/clock.ts'
import type { Running } from '../daemon/lifecycle.ts'
import { createLog, type Log } from '../daemon/log.ts'
import type { CoordinatorConfig } from '../protocol/daemon.ts'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { onAdvert } from '../protocol/mesh/adverts.ts'
import { handleAgentChannels } from '../protocol/mesh/agent-channel.ts'
import { handleEnrolment } from '../protocol/mesh/enrolment.ts'
import { loadOrCreateIdentity } from '../protocol/mesh/identity.ts'
import { type CoordinatorNode, startCoordinatorNode } from '../protocol/mesh/node.ts'
import { VERSION } from '../protocol/version.ts'
import { loadAccounts } from './accounts.ts'
import { createAgents } from './agent-view.ts'
import { createAnswers } from './answers.ts'
import { createCaches } from './caches.ts'
import { createCalls } from './call-view.ts'
import { writeClientContext, writePrivateFile } from './client-context.ts'
import { createCommitLoop } from './commit-loop.ts'
import { loadFuncs } from './funcs.ts'
import { startGateway } from './gateway/server.ts'
import { loadImages } from './images.ts'
import { createIntake } from './intake.ts'
import { pickAgentForPull } from './ledger/placement.ts'
import { rememberAgent } from './ledger/sessions.ts'
import { addAccount, createLedger } from './ledger/step.ts'
import { loadLedger, raiseEpoch } from './load.ts'
import { createLogs } from './logs.ts'
import { loadMembership } from './membership.ts'
import type { Overview, Ports } from './ports.ts'
import { createRoster } from './roster.ts'
import { openStore } from './store.ts'
import { createTransactions } from './transactions.ts'

const DEFAULT_ACCOUNT = 'default'

/** The rooms behind the gateway, wired to each other. */
const furnish = async (config: CoordinatorConfig, log: Log, isStopping: () => boolean) => {
  const clock = createClock()
  await clock.refresh()
  const nowMs = clock.nowMs
  const store = await openStore(config.home)
  const epoch = await raiseEpoch(store, Date.now())
  const loop = createCommitLoop(store, (error) => {
    // What memory says and the disk does not is told to nobody: start again from the disk.
    log.fatal({ err: error }, 'the disk refused a commit')
    process.exit(74)
  })
  const ledger = createLedger(epoch, nowMs())
  const caches = createCaches()
  const logs = createLogs(store)
  // The ledger's listeners are rooms that need the ledger: they are filled in below.
  const transactions = createTransactions({
    ledger,
    caches,
    loop,
    nowMs,
    listeners: {
      accepted: () => undefined,
      logged: logs.logged,
      final(callId, attempt, outcome, body) {
        intake.forget(callId)
        answers.final(callId, attempt, outcome, body)
        const { code, exitCode } = outcome
        log.info(
          { call: callId, attempt, reason: code, exit: exitCode, bytesOut: body.byteLength },
          'call ended',
        )
      },
      assign: (agentId, key, terms, seq) => intake.assign(agentId, key, terms, seq),
      send: (agentId, order) => roster.send(agentId, order),
      welcome: (agentId, session, verdicts) => roster.welcome(agentId, session, verdicts),
    },
  })
  const { apply, write, settled } = transactions

  const accounts = await loadAccounts({
    store,
    write,
    onAdded: (accountId, quota) => addAccount(ledger, accountId, quota),
    onQuota: (accountId, quota) => apply({ type: 'quota', accountId, quota }),
    onRemoved: (accountId) => apply({ type: 'remove-account', accountId }),
    hasFuncs: (accountId) => funcs.hasFuncs(accountId),
  })
  const membership = await loadMembership({ store, write, wallMs: Date.now })
  const roster = createRoster({
    epoch,
    version: VERSION,
    membership,
    apply,
    onLeave: (agentId) => {
      membership.remove(agentId).then(
        () => apply({ type: 'forget', agentId }),
        (error: unknown) => log.error({ err: error, peer: agentId }, 'leaving failed'),
      )
    },
    log,
  })
  const images = await loadImages({
    store,
    write,
    pullOnAgent(reference, auth, onProgress, signal) {
      const agent = pickAgentForPull(ledger.agents.values())
      if (agent === undefined) {
        return Promise.reject(new HyperError('NO_AGENT', 'no agent with an engine is connected'))
      }
      return roster.pull(agent.id, reference, auth, onProgress, signal)
    },
  })
  const liveCalls = (funcId: string): number => {
    const counts = ledger.counts.get(funcId)
    return (counts?.pending ?? 0) + (counts?.running ?? 0)
  }
  const funcs = await loadFuncs({
    store,
    write,
    pinImage: images.pin,
    liveCalls,
    cancelCalls: (funcId) => apply({ type: 'remove-func', funcId }),
    removeCaches: caches.removeFunc,
  })
  const termsOf = (funcId: string, revision: number) => {
    const stored = funcs.revision(funcId, revision)
    return stored === null ? null : funcs.terms(stored)
  }
  await loadLedger(store, ledger, caches, accounts.list(), termsOf, nowMs())
  for (const { peerId, name, facts } of membership.members()) {
    if (facts !== null) rememberAgent(ledger, peerId, name, facts, nowMs())
  }

  const answers = createAnswers({ ledger, caches, store, apply, write, settled, nowMs })
  const intake = createIntake({
    ledger,
    store,
    apply,
    isStopping,
    byId: funcs.byId,
    termsOf: funcs.terms,
    revision: funcs.revision,
    sendAssignment: roster.assign,
  })
  const calls = createCalls({
    ledger,
    caches,
    store,
    intake,
    answers,
    apply,
    settled,
    byId: funcs.byId,
  })
  const tick = setInterval(() => {
    clock.refresh().catch(() => undefined)
    apply({ type: 'tick' })
    answers.expire()
    membership.expire()
  }, limits.tickMs)
  return {
    store,
    epoch,
    ledger,
    transactions,
    accounts,
    funcs,
    images,
    calls,
    logs,
    membership,
    roster,
    tick,
  }
}

type Rooms = Awaited<ReturnType<typeof furnish>>

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
  const rooms = await furnish(config, log, () => isStopping)
  const closeRooms = async (): Promise<void> => {
    clearInterval(rooms.tick)
    await rooms.transactions.settled()
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
