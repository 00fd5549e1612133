/**
 * The rooms behind gateway and mesh, wired to each other: store, ledger, caches, books, roster.
 * Opened from the disk, with the epoch raised; `close` gives everything back.
 */

import { randomUUID } from 'node:crypto'
import { statfs } from 'node:fs/promises'
import { createClock } from '../daemon/clock.ts'
import type { Log } from '../daemon/log.ts'
import type { CoordinatorConfig } from '../protocol/daemon.ts'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { VERSION } from '../protocol/version.ts'
import { loadAccounts } from './accounts.ts'
import { createCore } from './core.ts'
import { openDiskRoom } from './disk-room.ts'
import { raiseEpoch, watchEpochs } from './epoch.ts'
import { loadFuncs } from './funcs.ts'
import { loadImages } from './images.ts'
import { rememberAgent } from './ledger/members.ts'
import { pickAgentForPull } from './ledger/placement.ts'
import { addAccount } from './ledger/step.ts'
import { createLogs } from './logs.ts'
import { type Loss, settleLosses } from './losses.ts'
import { loadMembership } from './membership.ts'
import { RESTORED } from './restore.ts'
import { createRoster } from './roster.ts'
import { del, openStore, type Store } from './store.ts'
import type { Transactions } from './transactions.ts'

const noteLoss = (log: Log, loss: string): void =>
  log.warn({ loss }, 'a loss of stored data was accepted')

/** The rooms behind the gateway, wired to each other. Throws STATE_IN_USE, STATE_DAMAGED … */
export const openRooms = async (config: CoordinatorConfig, log: Log, isStopping: () => boolean) => {
  const store = await openStore(config.home, {
    onTrouble: (reason) => log.warn({ reason }, 'the disk has trouble'),
    tellLoss: config.acceptDataLoss ? (loss) => noteLoss(log, loss) : undefined,
  })
  const diskRoom = await openDiskRoom({
    statfs: () => statfs(config.home),
    isWritable: store.isWritable,
    log,
  })
  const closeDisk = async (): Promise<void> => {
    diskRoom.close()
    await store.close()
  }
  try {
    const { close, ...rooms } = await furnish(config, store, log, isStopping)
    return { ...rooms, store, diskRoom, close: () => close().finally(closeDisk) }
  } catch (error) {
    await closeDisk()
    throw error
  }
}

/**
 * What memory says and the disk does not is told to nobody, and what a decision left half done is
 * trusted by nobody: the process ends, and starts again from what is committed.
 */
const crash = (log: Log, error: unknown): never => {
  log.fatal({ err: error }, 'stopped by a fault')
  process.exit(70)
}

/**
 * The first start after `hyper restore`: at-most-once calls of the backup may have run since, and are
 * ended. The mark goes after that, so a crash in between only does it again.
 */
const settleRestore = async (
  store: Store,
  { apply, settled, write }: Transactions,
  log: Log,
): Promise<void> => {
  const made = await store.get('meta', RESTORED)
  if (made === undefined) return
  apply({ type: 'restored' })
  await settled()
  await write([del('meta', RESTORED)])
  log.warn({ made }, 'started from a backup; at-most-once calls that were in it have ended')
}

const furnish = async (
  config: CoordinatorConfig,
  store: Store,
  log: Log,
  isStopping: () => boolean,
) => {
  let isClosing = false
  const onFault = (error: unknown): void => {
    // A commit that the disk refuses ends with the store, and was told to nobody.
    if (isClosing) log.warn({ err: error }, 'not all was written before the end')
    else crash(log, error)
  }
  const clock = createClock()
  await clock.refresh()
  const nowMs = clock.nowMs
  const start = await raiseEpoch(store, Date.now(), config.raiseEpoch)
  const { epoch } = start
  const logs = createLogs({ store, span: (funcId) => caches.logSpan(funcId) })
  const core = createCore({
    ...{ store, epoch, nowMs, isStopping, onFault, newCallId: randomUUID },
    wall: () => new Date().toISOString(),
    // Rooms that need the core: they are made below.
    funcs: () => funcs,
    agents: () => roster,
    onLogged: logs.logged,
    onEnded(call, attempt, { code, exitCode }, bytesOut) {
      log.info({ call, attempt, reason: code, exit: exitCode, bytesOut }, 'call ended')
    },
  })
  const { ledger, caches, transactions, calls } = core
  const { apply, record, write } = transactions

  const accounts = await loadAccounts({
    store,
    write,
    newId: randomUUID,
    onAdded: (accountId, quota) => addAccount(ledger, accountId, quota),
    onQuota: (accountId, quota) => apply({ type: 'quota', accountId, quota }),
    onRemoved: (accountId) => {
      apply({ type: 'remove-account', accountId })
      record(images.forget(accountId))
    },
    hasFuncs: (accountId) => funcs.hasFuncs(accountId),
  })
  const membership = await loadMembership({ store, record, write, wallMs: Date.now })
  const roster = createRoster({
    epoch,
    version: VERSION,
    membership,
    apply,
    onEpochAhead: watchEpochs(start, record).told,
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
  const liveCalls = (funcId: string, revision?: number): number => {
    const counts = ledger.counts.get(funcId)
    if (revision !== undefined) return counts?.revisions.get(revision) ?? 0
    return (counts?.pending ?? 0) + (counts?.running ?? 0)
  }
  const funcs = await loadFuncs({
    store,
    write,
    newId: randomUUID,
    pinImage: images.pin,
    liveCalls,
    hasAccount: (accountId) => ledger.accounts.has(accountId),
    cancelCalls: (funcId) => apply({ type: 'remove-func', funcId }),
    removeCaches: caches.removeFunc,
  })
  const losses: Loss[] = []
  await core.load(accounts.list(), (loss) => losses.push(loss))
  await store.verify()
  await settleLosses(losses, config.acceptDataLoss, write, (loss) => noteLoss(log, loss))
  await settleRestore(store, transactions, log)
  for (const { peerId, name, facts, draining } of membership.members()) {
    if (facts !== null) rememberAgent(ledger, peerId, name, facts, nowMs(), draining)
  }

  const tick = setInterval(() => {
    clock.refresh().catch(() => undefined)
    core.tick()
    membership.expire()
  }, limits.tickMs)
  /** Writes what was decided, unless the disk refuses: that must not hold up the end. */
  const close = async (): Promise<void> => {
    clearInterval(tick)
    isClosing = true
    if (store.isWritable()) await core.close()
  }
  return {
    close,
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
  }
}

export type Rooms = Awaited<ReturnType<typeof openRooms>>
