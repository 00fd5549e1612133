/**
 * Opening a daemon's LevelDB: the state folder is made or narrowed to 0700 and locked, the database's
 * files are proven (level-files.ts), it is opened, its schema version compared, and its first files
 * made to outlive a power cut.
 *
 * What is not to be opened is refused: STATE_IN_USE, STATE_DAMAGED, DISK_FULL and DISK_FAILED before anything is written,
 * STATE_TOO_NEW and STATE_TOO_OLD (no migration leads from there) before any row is. The rows are the caller's own; so is
 * the row that tells the version, which `readVersion`, `writeFirst` and the migrations know. A
 * migration that was cut off is run again from its beginning by the next start.
 */

import { chmod, mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { syncFolder } from '../protocol/private-file.ts'
import { lockFolder } from './folder-lock.ts'
import { checkFiles, repairFiles } from './level-files.ts'

export type Database = Level<string, Uint8Array>

/** From one version to a later one. Can be repeated at any point; its last write is the new version. */
interface Migration {
  readonly from: number
  readonly to: number
  readonly migrate: (database: Database) => Promise<void>
}

interface LevelPlan {
  /** The state folder, which belongs to this process from now on. */
  readonly folder: string
  /** Of the database's own folder in it. */
  readonly name: string
  readonly schemaVersion: number
  /** Undefined where the database is new. Throws STATE_DAMAGED. */
  readonly readVersion: (database: Database) => Promise<number | undefined>
  /** A synced write of at least the version. */
  readonly writeFirst: (database: Database) => Promise<void>
  readonly migrations?: readonly Migration[]
  /** The operator accepts a loss, and is told it; a database that cannot be opened is repaired. */
  readonly tellLoss?: ((what: string) => void) | undefined
}

interface OpenLevel {
  readonly database: Database
  /** Closes the database and lets go of the folder. */
  close(): Promise<void>
}

const PRIVATE = 0o700
const OTHERS = 0o077

/** Makes the state folder, or narrows it to its owner. Throws DISK_FAILED. */
export const claimFolder = async (folder: string): Promise<void> => {
  try {
    await mkdir(folder, { recursive: true, mode: PRIVATE })
    const { mode } = await stat(folder)
    if ((mode & OTHERS) !== 0) await chmod(folder, PRIVATE)
  } catch (cause) {
    const what = `the state folder ${folder} cannot be made: ${messageOf(cause)}`
    throw new HyperError('DISK_FAILED', what, { cause })
  }
}

const isLocked = (error: unknown): boolean =>
  error instanceof Error &&
  (('code' in error && error.code === 'LEVEL_LOCKED') || isLocked(error.cause))

/** LevelDB names the file that is missing or damaged in the innermost cause. */
const innermost = (error: unknown): unknown =>
  error instanceof Error && error.cause !== undefined ? innermost(error.cause) : error

const isFound = (error: unknown, codes: readonly string[], words: RegExp): boolean =>
  error instanceof Error &&
  (('code' in error && typeof error.code === 'string' && codes.includes(error.code)) ||
    words.test(error.message) ||
    isFound(error.cause, codes, words))

/** What a disk says that is full, fails or may not be read is about the disk; the files may be whole. */
const isDamage = (error: unknown): boolean =>
  isFound(
    error,
    ['STATE_DAMAGED', 'LEVEL_CORRUPTION', 'ENOENT', 'ENOTDIR'],
    /Corruption|No such file/,
  )
const isFull = (error: unknown): boolean =>
  isFound(error, ['ENOSPC', 'EDQUOT'], /No space left|quota exceeded/i)

/** Throws STATE_IN_USE, STATE_DAMAGED, DISK_FULL, DISK_FAILED. */
const openDatabase = async (path: string): Promise<Database> => {
  try {
    await checkFiles(path)
    // Only now: a database opens itself soon after it was made.
    const database: Database = new Level(path, { keyEncoding: 'utf8', valueEncoding: 'view' })
    await database.open()
    return database
  } catch (cause) {
    if (isLocked(cause)) {
      throw new HyperError('STATE_IN_USE', `${path} is in use by another process`, { cause })
    }
    const code = isDamage(cause) ? 'STATE_DAMAGED' : isFull(cause) ? 'DISK_FULL' : 'DISK_FAILED'
    const reason = messageOf(innermost(cause))
    throw new HyperError(code, `${path} cannot be opened: ${reason}`, { cause })
  }
}

/** One of the tables, one of the rest. */
const REPAIRS_MAX = 2

const openRepaired = async (path: string, tellLoss: LevelPlan['tellLoss']): Promise<Database> => {
  for (let repairs = 0; ; repairs += 1) {
    try {
      return await openDatabase(path)
    } catch (error) {
      if (
        !(error instanceof HyperError) ||
        !isDamage(error) ||
        tellLoss === undefined ||
        repairs === REPAIRS_MAX
      )
        throw error
      const copy = await repairFiles(path)
      tellLoss(`${error.message}; what could be read was kept, the former files are in ${copy}`)
    }
  }
}

/** The way from the stored version to the plan's, in order. */
const migrationsFrom = (stored: number | undefined, plan: LevelPlan): readonly Migration[] => {
  if (stored === undefined) return []
  if (stored > plan.schemaVersion) {
    throw new HyperError('STATE_TOO_NEW', `${plan.folder} was written by a later version of hyper`)
  }
  const way: Migration[] = []
  for (let version = stored; version < plan.schemaVersion; ) {
    const next = plan.migrations?.find(({ from }) => from === version)
    if (next === undefined) {
      throw new HyperError(
        'STATE_TOO_OLD',
        `${plan.folder} was written by an earlier version of hyper, whose rows this one cannot read`,
      )
    }
    way.push(next)
    version = next.to
  }
  return way
}

/** Throws STATE_IN_USE, STATE_DAMAGED, STATE_TOO_NEW, STATE_TOO_OLD; nothing is held then. */
export const openLevel = async (plan: LevelPlan): Promise<OpenLevel> => {
  await claimFolder(plan.folder)
  const path = join(plan.folder, plan.name)
  const lock = await lockFolder(plan.folder)
  const database = await openRepaired(path, plan.tellLoss).catch(async (error: unknown) => {
    await lock.release()
    throw error
  })
  const close = async (): Promise<void> => {
    await database.close().finally(() => lock.release())
  }
  try {
    const way = migrationsFrom(await plan.readVersion(database), plan)
    for (const { migrate } of way) await migrate(database)
    // LevelDB makes its first files without syncing their folder: one synced write and a sync of
    // the folders before anything rests on them.
    await plan.writeFirst(database)
    await syncFolder(path)
    await syncFolder(plan.folder)
    return { database, close }
  } catch (error) {
    await close()
    throw error
  }
}
