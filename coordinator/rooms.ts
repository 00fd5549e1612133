/**
 * The rooms behind gateway and mesh, in the world: the store on its folder, the disk's room, the clock
 * and its ticking, around the wiring (wiring.ts). A fault ends the process; `close` gives all back.
 */

import { randomUUID } from 'node:crypto'
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { createClock } from '../daemon/clock.ts'
import type { Log } from '../daemon/log.ts'
import type { CoordinatorConfig } from '../protocol/daemon.ts'
import { limits } from '../protocol/limits.ts'
import { openDiskRoom } from './disk-room.ts'
import { loadIdentity } from './identity.ts'
import { openSecretBox } from './secret-box.ts'
import { watchSilence } from './session.ts'
import { openStore, type Store } from './store/store.ts'
import { wireCoordinator } from './wiring.ts'

/** Its key, in the coordinator's home; in no backup. */
const SECRETS_KEY = 'secrets-key'

/** Null where the operator accepts none. */
const lossLog = ({ acceptDataLoss }: CoordinatorConfig, log: Log) =>
  acceptDataLoss
    ? (loss: string): void => log.warn({ loss }, 'a loss of stored data was accepted')
    : null

/**
 * The rooms behind the gateway, wired to each other, and the coordinator's key. Throws STATE_IN_USE,
 * STATE_DAMAGED …
 */
export const openRooms = async (config: CoordinatorConfig, log: Log, isStopping: () => boolean) => {
  const store = await openStore(config.home, {
    onTrouble: (reason) => log.warn({ reason }, 'the disk has trouble'),
    tellLoss: lossLog(config, log) ?? undefined,
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
    // Before an epoch is raised, which says that this was a coordinator.
    const key = await loadIdentity(config.home, store, lossLog(config, log))
    const { close, ...rooms } = await enliven(config, store, log, isStopping)
    return { ...rooms, key, store, diskRoom, close: () => close().finally(closeDisk) }
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

/** The wiring, in this machine's time. */
const enliven = async (
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
  const { core, tick, ...books } = await wireCoordinator({
    ...{ store, log, isStopping, onFault },
    secrets: await openSecretBox(join(config.home, SECRETS_KEY)),
    nowMs: clock.nowMs,
    ...{ wallMs: Date.now, watchSilence },
    newId: randomUUID,
    newCallId: randomUUID,
    isEpochRaised: config.raiseEpoch,
    tellLoss: lossLog(config, log),
  })
  const ticking = setInterval(() => {
    clock.refresh().catch(() => undefined)
    tick()
  }, limits.tickMs)
  /** Writes what was decided, unless the disk refuses: that must not hold up the end. */
  const close = async (): Promise<void> => {
    clearInterval(ticking)
    isClosing = true
    if (store.isWritable()) await core.close()
  }
  const { ledger, transactions, calls } = core
  return { ...books, close, ledger, transactions, calls }
}

export type Rooms = Awaited<ReturnType<typeof openRooms>>
