/**
 * A coordinator's home made of a backup. It is written in a folder beside the home and takes the
 * home's name only when all of it is written, checked and synced: a restore that breaks off, or a
 * backup that turns out damaged at its last byte, leaves nothing that starts. One that is refused
 * leaves no folder at all that was not there.
 *
 *   (home absent or empty) ─► HOME.restoring ─► HOME
 *
 * A home that is a mount point is refused before anything is written: nothing can take its name.
 *
 * The state is marked as restored for the next start (restored.ts): calls may have gone on since, and
 * agents must leave the coordinator that the backup is of.
 */

import { mkdir, open, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createGunzip } from 'node:zlib'
import { lockFolder } from '../daemon/folder-lock.ts'
import { isMountPoint } from '../daemon/mount-point.ts'
import {
  BACKUP_PREFIX_BYTES,
  type BackupHead,
  type BackupRecord,
  checkBackupPrefix,
  readBackup,
} from '../protocol/backup.ts'
import type { RestoreConfig, Restored } from '../protocol/daemon.ts'
import { HyperError, isMissing, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { syncFolder, writePrivateFile } from '../protocol/private-file.ts'
import { HOME_FILES } from './backup.ts'
import { markRestored } from './restored.ts'
import { SCHEMA_VERSION } from './store/level-drive.ts'
import {
  BODIES,
  type Operation,
  openStore,
  put,
  putBody,
  type Store,
  SUBLEVELS,
} from './store/store.ts'

const FOLDER_MODE = 0o700

interface Deps {
  readonly config: RestoreConfig
  readonly wallMs: number
  readonly progress: (message: string) => void
  /** Gives it up; nothing is left then. */
  readonly signal: AbortSignal
}

/** Throws STATE_EXISTS where there is anything, or something is mounted. */
const checkFree = async (home: string): Promise<void> => {
  const names = await readdir(home).catch((error: unknown) => {
    if (isMissing(error)) return []
    throw new HyperError('STATE_EXISTS', `${home} cannot be restored into: ${messageOf(error)}`)
  })
  if (names.length > 0) throw new HyperError('STATE_EXISTS', `there is something in ${home}`)
  if (await isMountPoint(home)) {
    const what = `${home} is a mount point, which no other folder can take the place of`
    throw new HyperError('STATE_EXISTS', what)
  }
}

/** Makes the folder and those above it; gives what takes away those that it made. */
const makeFolder = async (folder: string): Promise<() => Promise<void>> => {
  const first = await mkdir(folder, { recursive: true, mode: FOLDER_MODE })
  return async () => {
    if (first === undefined) return
    for (let path = folder; path.length >= first.length; path = dirname(path)) {
      // Whoever put something there meanwhile keeps it.
      await rmdir(path).catch(() => undefined)
    }
  }
}

/** What a restore that broke off has left; STATE_IN_USE for one that is running. */
const clear = async (folder: string): Promise<void> => {
  try {
    const lock = await lockFolder(folder)
    await lock.release()
  } catch (error) {
    if (isMissing(error)) return
    throw error
  }
  await rm(folder, { recursive: true, force: true })
}

const unreadable = (path: string, cause: unknown): HyperError =>
  new HyperError(
    'NOT_A_BACKUP',
    isMissing(cause) ? `there is no file ${path}` : `${path} cannot be read: ${messageOf(cause)}`,
    { cause },
  )

/** The records of the file, as far as they are good. */
async function* recordsOf(path: string, signal: AbortSignal): AsyncGenerator<BackupRecord> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw unreadable(path, cause)
  })
  try {
    const { buffer, bytesRead } = await file
      .read(Buffer.alloc(BACKUP_PREFIX_BYTES), 0, BACKUP_PREFIX_BYTES, 0)
      .catch((cause: unknown) => {
        throw unreadable(path, cause)
      })
    checkBackupPrefix(buffer.subarray(0, bytesRead), path)
    const source = file.createReadStream({ start: BACKUP_PREFIX_BYTES, autoClose: false, signal })
    const gunzip = createGunzip()
    source.on('error', (error) => gunzip.destroy(error))
    yield* readBackup(source.pipe(gunzip))
  } catch (cause) {
    if (cause instanceof HyperError) throw cause
    signal.throwIfAborted()
    // Of zlib: the stream is cut, or its bytes are others.
    throw new HyperError('BACKUP_DAMAGED', `the backup cannot be unpacked: ${messageOf(cause)}`, {
      cause,
    })
  } finally {
    await file.close()
  }
}

const checkHead = ({ schema, version }: BackupHead): void => {
  if (schema === SCHEMA_VERSION) return
  const isNewer = schema > SCHEMA_VERSION
  throw new HyperError(
    isNewer ? 'STATE_TOO_NEW' : 'BACKUP_TOO_OLD',
    `the backup was made by ${isNewer ? 'a later' : 'an earlier'} version of hyper (${version})`,
  )
}

const nameIn = <T extends string>(names: readonly T[], text: string): T => {
  const name = names.find((one) => one === text)
  if (name !== undefined) return name
  throw new HyperError('BACKUP_DAMAGED', `the backup names a table ${JSON.stringify(text)}`)
}

/** Commits of a bounded size, each on the disk before the next is gathered. */
const createFiller = (store: Store) => {
  let operations: Operation[] = []
  let bytes = 0
  const flush = async (): Promise<void> => {
    const batch = operations
    operations = []
    bytes = 0
    if (batch.length > 0) await store.commit(batch)
  }
  return {
    flush,
    async add(added: readonly Operation[], size: number): Promise<void> {
      operations.push(...added)
      bytes += size
      if (bytes >= limits.commitBytesMax) await flush()
    },
  }
}

const ROW_BYTES = 512

const fill = async (folder: string, store: Store, deps: Deps): Promise<BackupHead> => {
  const filler = createFiller(store)
  let head: BackupHead | undefined
  const files = new Set<string>()
  for await (const record of recordsOf(deps.config.backupPath, deps.signal)) {
    if (record.type === 'head') {
      checkHead(record)
      head = record
      deps.progress(`Restoring the backup of ${record.made}.`)
    } else if (record.type === 'rows') {
      const sublevel = nameIn(SUBLEVELS, record.sublevel)
      const rows = record.rows.map(([key, value]) => put(sublevel, key, value))
      await filler.add(rows, rows.length * ROW_BYTES)
    } else if (record.type === 'body') {
      const { key, bytes } = record
      await filler.add([putBody(nameIn(BODIES, record.kind), key, bytes)], bytes.byteLength)
    } else if (record.type === 'file') {
      const name = nameIn(HOME_FILES, record.name)
      files.add(name)
      await writePrivateFile(join(folder, name), record.bytes)
    }
  }
  await filler.flush()
  if (head === undefined || !files.has('identity')) {
    throw new HyperError('BACKUP_DAMAGED', 'the backup has no identity of a coordinator')
  }
  return head
}

/** The counts are those of what was written, whatever the backup says. */
const countRows = async (store: Store): Promise<Pick<Restored, 'rows' | 'bodies'>> => {
  const snapshot = await store.snapshot()
  try {
    let [rows, bodies] = [0, 0]
    for (const sublevel of SUBLEVELS) {
      for await (const page of snapshot.rows(sublevel)) rows += page.length
    }
    for await (const _body of snapshot.bodies()) bodies += 1
    return { rows, bodies }
  } finally {
    await snapshot.close()
  }
}

const write = async (folder: string, deps: Deps): Promise<Restored> => {
  const store = await openStore(folder, { onTrouble: deps.progress })
  // A commit that waits for a disk without room is given up with the restore.
  let closing: Promise<void> | null = null
  const close = (): Promise<void> => {
    closing ??= store.close()
    return closing
  }
  const onAbort = (): void => {
    close().catch(() => undefined)
  }
  deps.signal.addEventListener('abort', onAbort, { once: true })
  try {
    const { made } = await fill(folder, store, deps)
    const counts = await countRows(store)
    const epoch = await markRestored(store, made, deps.wallMs)
    return { made, epoch, ...counts }
  } finally {
    deps.signal.removeEventListener('abort', onAbort)
    await close()
  }
}

/** Throws STATE_EXISTS, NOT_A_BACKUP, BACKUP_DAMAGED, STATE_TOO_NEW …; the home is as it was then. */
export const restoreBackup = async (deps: Deps): Promise<Restored> => {
  const { home } = deps.config
  const folder = `${home}.restoring`
  await checkFree(home)
  await clear(folder)
  const unmake = await makeFolder(dirname(home))
  try {
    const restored = await write(folder, deps)
    deps.signal.throwIfAborted()
    // An empty home gives way; what came into it meanwhile does not.
    await rename(folder, home).catch((cause: unknown) => {
      throw new HyperError('STATE_EXISTS', `${home} cannot be made: ${messageOf(cause)}`, { cause })
    })
    await syncFolder(dirname(home))
    return restored
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    await unmake()
    // Given up, it may have failed in any way: its store was closed under it.
    deps.signal.throwIfAborted()
    throw error
  }
}
