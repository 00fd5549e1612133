/**
 * A backup of the running coordinator: everything that is committed at one moment, and the files of
 * its home without which it would not be the same coordinator, in the form of protocol/backup.ts.
 *
 *   open ─► (frames are read) ─► closed        one at a time; the snapshot is let go of either way
 *     └─ backupMs have passed: the snapshot is let go of, and the last frame says so
 *
 * It only reads: calls are accepted, run and end meanwhile.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../daemon/log.ts'
import { type BackupRecord, createBackupEncoder } from '../protocol/backup.ts'
import { HyperError, isMissing, toHyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { VERSION } from '../protocol/version.ts'
import type { Backups } from './ports.ts'
import { SCHEMA_VERSION } from './store/level-drive.ts'
import type { StoreSnapshot } from './store/snapshot.ts'
import { type Store, SUBLEVELS } from './store/store.ts'

/** Of the coordinator's home: its key in the mesh, and the default account's token. */
export const HOME_FILES = ['identity', 'default-token'] as const

interface Deps {
  readonly store: Pick<Store, 'snapshot'>
  /** Resolves when all that was decided is on the disk. */
  readonly settled: () => Promise<void>
  readonly home: string
  readonly epoch: number
  readonly wall: () => string
  readonly log: Pick<Log, 'error'>
  readonly timeoutMs?: number
}

/** Null where there is no token any more; a backup without the key would be of no use. */
const readHomeFile = async (
  home: string,
  name: (typeof HOME_FILES)[number],
): Promise<Uint8Array | null> => {
  const path = join(home, name)
  try {
    return await readFile(path)
  } catch (error) {
    if (!isMissing(error)) throw error
    if (name === 'identity') throw new HyperError('STATE_DAMAGED', `${path} is lost`)
    return null
  }
}

async function* recordsOf(
  { home, epoch, wall }: Deps,
  snapshot: StoreSnapshot,
): AsyncGenerator<BackupRecord> {
  yield { type: 'head', schema: SCHEMA_VERSION, version: VERSION, made: wall(), epoch }
  for (const name of HOME_FILES) {
    const bytes = await readHomeFile(home, name)
    if (bytes !== null) yield { type: 'file', name, bytes }
  }
  for (const sublevel of SUBLEVELS) {
    for await (const rows of snapshot.rows(sublevel)) {
      yield { type: 'rows', sublevel, rows: rows.map(([key, value]) => [key, value]) }
    }
  }
  for await (const body of snapshot.bodies()) yield { type: 'body', ...body }
}

export const createBackups = (deps: Deps): Backups => {
  const { store, timeoutMs = limits.backupMs } = deps
  let isOpen = false

  async function* framesOf(snapshot: StoreSnapshot, isLate: () => boolean) {
    const encoder = createBackupEncoder()
    try {
      for await (const record of recordsOf(deps, snapshot)) {
        if (isLate()) break
        yield encoder.frame(record)
      }
      if (!isLate()) {
        yield encoder.end()
        return
      }
    } catch (error) {
      if (!isLate()) {
        deps.log.error({ err: error }, 'a backup failed')
        const { code, message } = toHyperError(error)
        yield encoder.frame({ type: 'failed', code, message })
        return
      }
    }
    const message = `the backup was not read within ${timeoutMs / 1000} s`
    yield encoder.frame({ type: 'failed', code: 'BACKUP_TOO_SLOW', message })
  }

  return {
    async open() {
      if (isOpen) throw new HyperError('BACKUP_BUSY', 'another backup is being made')
      isOpen = true
      let isLate = false
      let timer: NodeJS.Timeout | undefined
      try {
        await deps.settled()
        const snapshot = await store.snapshot()
        let closed: Promise<void> | null = null
        // Both its reader and its time may end it: only the first gives the place back.
        const close = (): Promise<void> => {
          clearTimeout(timer)
          closed ??= snapshot.close().finally(() => {
            isOpen = false
          })
          return closed
        }
        timer = setTimeout(() => {
          isLate = true
          // Its reader is told by the next frame, or is gone.
          close().catch(() => undefined)
        }, timeoutMs)
        return { frames: framesOf(snapshot, () => isLate), close }
      } catch (error) {
        isOpen = false
        throw error
      }
    },
  }
}
