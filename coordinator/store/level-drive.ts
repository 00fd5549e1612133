/**
 * The real drive: a LevelDB `ledger`, and a folder `blobs` beside it, in the state folder.
 *
 * Batches are synced. Files are 0600 in a folder 0700, written side by side, each synced, then their
 * folder once. A page is one short-lived iterator. Neither of the two is opened by anybody else:
 * openLevel (daemon/level.ts) holds the folder, through reopenings too.
 *
 * `blobs` is made after the database is durable: where it stands and the database is empty, the
 * database has been lost, which LevelDB would not say.
 */

import { mkdir, open, opendir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import Type from 'typebox'
import { type Database, openLevel } from '../../daemon/level.ts'
import { compactRange } from '../../daemon/level-compaction.ts'
import { repairFiles } from '../../daemon/level-files.ts'
import { unsealRow } from '../../daemon/sealed-row.ts'
import { HyperError, isMissing } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { syncFolder } from '../../protocol/private-file.ts'
import { createParser } from '../../protocol/schema.ts'
import type { TellLoss } from './damage.ts'
import type { BlobFile, Drive, DriveSnapshot, PageRange } from './drive.ts'
import { MIGRATIONS, unsealJson } from './migrations.ts'
import { decodeRow, encodeRow } from './row-form.ts'
import { SCHEMA_ROW, type Table } from './tables.ts'

/** Raised with every change of a row's shape. */
export const SCHEMA_VERSION = 3

const FILE_MODE = 0o600
const FOLDER_MODE = 0o700

/** Versions 1 and 2 wrote their rows, this one with them, in another form. */
const versionIn = (stored: Uint8Array): unknown => {
  for (const decode of [decodeRow, unsealJson]) {
    try {
      return decode(stored, 'meta/schema')
    } catch {
      // Then in the form of the version before.
    }
  }
  return unsealRow(stored, 'meta/schema')
}

const parseSchemaVersion = createParser(Type.Integer(), 'STATE_DAMAGED', 'schema version')

/** Tables are ranges of one key space: a batch or a read goes over any of them. */
const levelKey = (table: Table, key: string): string => `!${table}!${key}`
const keyStart = (table: Table): number => table.length + 2

const SCHEMA_KEY = levelKey(SCHEMA_ROW.table, SCHEMA_ROW.key)

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

/** LevelDB tells some damage by itself: a block that does not unpack, a file that is not there. */
const nameDamage = (error: unknown): never => {
  if (error instanceof Error && 'code' in error && error.code === 'LEVEL_CORRUPTION') {
    throw new HyperError('STATE_DAMAGED', `the ledger cannot be read: ${error.message}`, {
      cause: error,
    })
  }
  throw error
}

const EMPTY = new Uint8Array(0)

/** `empty` is the value of rows whose keys alone are asked for. */
const createPageOf =
  <Value>(valueEncoding: 'view' | 'utf8', empty: Value) =>
  async (
    database: Database,
    table: Table,
    { gt, lt, reverse = false, limit, keysOnly = false }: PageRange,
    snapshot?: ReturnType<Database['snapshot']>,
  ): Promise<readonly (readonly [string, Value])[]> => {
    const iterator = database.iterator<string, Value>({
      gt: levelKey(table, gt ?? ''),
      lt: lt === undefined ? `!${table}"` : levelKey(table, lt),
      reverse,
      valueEncoding,
      values: !keysOnly,
      highWaterMarkBytes: limits.pageBytesMax,
      ...(snapshot === undefined ? {} : { snapshot }),
    })
    try {
      const rows = await iterator
        .nextv(Math.min(limit ?? limits.pageRowsMax, limits.pageRowsMax))
        .catch(nameDamage)
      const from = keyStart(table)
      return rows.map(([key, value]) => [key.slice(from), keysOnly ? empty : value])
    } finally {
      await iterator.close()
    }
  }

const pageOf = createPageOf<Uint8Array>('view', EMPTY)
const textPageOf = createPageOf<string>('utf8', '')

const writeFile = async (path: string, bytes: Uint8Array): Promise<void> => {
  const file = await open(path, 'w', FILE_MODE)
  try {
    await file.writeFile(bytes)
    await file.datasync()
  } finally {
    await file.close()
  }
}

/** Acts on each, `filesAtOnceMax` side by side. */
const forEachFile = async <T>(items: readonly T[], act: (item: T) => Promise<void>) => {
  const left = items.values()
  const work = async (): Promise<void> => {
    for (const item of left) await act(item)
  }
  await Promise.all(Array.from({ length: Math.min(limits.filesAtOnceMax, items.length) }, work))
}

const blobFolder = (
  path: string,
): Pick<Drive, 'writeFiles' | 'readFile' | 'removeFiles' | 'listFiles'> => ({
  async writeFiles(files: readonly BlobFile[]) {
    await forEachFile(files, ({ name, bytes }) => writeFile(join(path, name), bytes))
    await syncFolder(path)
  },
  async readFile(name) {
    try {
      const { buffer, byteOffset, byteLength } = await readFile(join(path, name))
      return new Uint8Array(buffer, byteOffset, byteLength)
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  },
  removeFiles: (names) => forEachFile(names, (name) => rm(join(path, name), { force: true })),
  async *listFiles() {
    let names: string[] = []
    for await (const { name } of await opendir(path)) {
      names.push(name)
      if (names.length < limits.pageRowsMax) continue
      yield names
      names = []
    }
    yield names
  },
})

interface Paths {
  readonly folder: string
  readonly ledger: string
  readonly blobs: string
}

/** `close` is the caller's. */
const driveOn = (database: Database, { folder, ledger, blobs }: Paths): Omit<Drive, 'close'> => {
  const open = async (): Promise<void> => {
    await database.open()
    // As at the first opening: the folder does not hold LevelDB's new files for sure yet.
    await writeVersion(database)
    await syncFolder(ledger)
  }
  return {
    ...blobFolder(blobs),
    batch: (operations) =>
      database.batch(
        operations.map((operation) => {
          const key = levelKey(operation.table, operation.key)
          return operation.type === 'put'
            ? { type: 'put' as const, key, value: operation.value }
            : { type: 'del' as const, key }
        }),
        { sync: true },
      ),
    getMany: (rows) =>
      database.getMany(rows.map(({ table, key }) => levelKey(table, key))).catch(nameDamage),
    page: (table, range) => pageOf(database, table, range),
    textPage: (table, range) => textPageOf(database, table, range),
    async snapshot(): Promise<DriveSnapshot> {
      const snapshot = database.snapshot()
      return {
        page: (table, range) => pageOf(database, table, range, snapshot),
        close: () => snapshot.close(),
      }
    },
    compact: (table, from, to) =>
      compactRange(database, levelKey(table, from), levelKey(table, to)),
    async probe() {
      const path = join(folder, 'probe')
      await writeFile(path, new Uint8Array(limits.probeBytes)).finally(() =>
        rm(path, { force: true }),
      )
    },
    async reopen() {
      await database.close()
      await open()
    },
    async repair() {
      await database.close()
      const copy = await repairFiles(ledger)
      await open()
      return copy
    },
  }
}

const writeVersion = (database: Database): Promise<void> =>
  database.put(SCHEMA_KEY, encodeRow(SCHEMA_VERSION), { sync: true })

/**
 * Opens, or makes, the drive in `folder`. Throws as `openLevel` does; with `tellLoss`, the operator
 * accepts that rows are lost, and what is left is opened.
 */
export const openLevelDrive = async (folder: string, tellLoss?: TellLoss): Promise<Drive> => {
  const paths = { folder, ledger: join(folder, 'ledger'), blobs: join(folder, 'blobs') }
  const wasWritten = await isThere(paths.blobs)
  const { database, close } = await openLevel({
    ...{ folder, name: 'ledger', schemaVersion: SCHEMA_VERSION, writeFirst: writeVersion },
    async readVersion(opened) {
      const sealed = await opened.get(SCHEMA_KEY).catch(nameDamage)
      if (sealed !== undefined) return parseSchemaVersion(versionIn(sealed))
      if (!wasWritten) return undefined
      const what = `${paths.ledger} has lost its version, and what else nobody knows`
      if (tellLoss === undefined) throw new HyperError('STATE_DAMAGED', what)
      tellLoss(what)
      return undefined
    },
    tellLoss,
    migrations: MIGRATIONS.map(({ from, to, migrate }) => ({
      ...{ from, to },
      async migrate(opened) {
        await mkdir(paths.blobs, { recursive: true, mode: FOLDER_MODE })
        await migrate({ ...driveOn(opened, paths), close: async () => undefined })
      },
    })),
  })
  try {
    await mkdir(paths.blobs, { recursive: true, mode: FOLDER_MODE })
    await syncFolder(folder)
  } catch (error) {
    await close()
    throw error
  }
  return { ...driveOn(database, paths), close }
}
