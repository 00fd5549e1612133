/**
 * The coordinator's disk: one LevelDB, its sublevels, and one write primitive.
 *
 * `commit(operations)` is atomic and synced: when it resolves, all of it survives a power cut.
 * Callers keep one commit in flight (the commit loop does), because LevelDB completes concurrent
 * batches out of order. Every value carries a checksum (daemon/sealed-row.ts). A value that fails is
 * STATE_DAMAGED, never repaired. One process and one Store own a folder (daemon/folder-lock.ts).
 */

import { mkdir, open as openFile } from 'node:fs/promises'
import { Level } from 'level'
import Type from 'typebox'
import { lockFolder } from '../daemon/folder-lock.ts'
import { sealRow, unsealRow } from '../daemon/sealed-row.ts'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { createParser } from '../protocol/schema.ts'

export const SUBLEVELS = [
  'meta',
  'account',
  'func',
  'image',
  'member',
  'invite',
  'call',
  'payload',
  'lease',
  'history',
  'callid',
  'owed',
  'output',
  'fetched',
  'log',
] as const
export type Sublevel = (typeof SUBLEVELS)[number]

export type Operation =
  | {
      readonly type: 'put'
      readonly sublevel: Sublevel
      readonly key: string
      readonly value: unknown
    }
  | { readonly type: 'del'; readonly sublevel: Sublevel; readonly key: string }

export const put = (sublevel: Sublevel, key: string, value: unknown): Operation => ({
  type: 'put',
  sublevel,
  key,
  value,
})
export const del = (sublevel: Sublevel, key: string): Operation => ({ type: 'del', sublevel, key })

interface Range {
  readonly gt?: string
  readonly lt?: string
  readonly reverse?: boolean
  readonly limit?: number
}

export interface Store {
  /** Atomic and durable. Rejects when the disk refused; what was written then is unknown. */
  commit(operations: readonly Operation[]): Promise<void>
  get(sublevel: Sublevel, key: string): Promise<unknown>
  /** Rows in order of their keys. */
  range(sublevel: Sublevel, range?: Range): AsyncGenerator<readonly [string, unknown]>
  close(): Promise<void>
}

/** Raised with every change of a row's shape. */
const SCHEMA_VERSION = 1

/** Numbers in keys are padded so that their order is that of their text. */
export const numberKey = (value: number): string => value.toString().padStart(16, '0')

const isLocked = (error: unknown): boolean =>
  error instanceof Error &&
  ((error as NodeJS.ErrnoException).code === 'LEVEL_LOCKED' ||
    (error.cause !== undefined && isLocked(error.cause)))

const syncFolder = async (folder: string): Promise<void> => {
  const handle = await openFile(folder, 'r')
  await handle.sync().finally(() => handle.close())
}

const parseSchemaVersion = createParser(Type.Integer(), 'STATE_DAMAGED', 'schema version')

/** Opens, or makes, the store in `folder`. Throws STATE_IN_USE, STATE_TOO_NEW, STATE_DAMAGED. */
export const openStore = async (folder: string): Promise<Store> => {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const lock = await lockFolder(folder)
  const database = new Level<string, Uint8Array>(`${folder}/ledger`, {
    keyEncoding: 'utf8',
    valueEncoding: 'view',
  })
  try {
    await database.open()
  } catch (error) {
    await lock.release()
    if (isLocked(error))
      throw new HyperError('STATE_IN_USE', `${folder} is in use by another process`)
    throw new HyperError('STATE_DAMAGED', `${folder} cannot be opened: ${messageOf(error)}`, {
      cause: error,
    })
  }
  const rows = Object.fromEntries(
    SUBLEVELS.map((name) => [
      name,
      database.sublevel<string, Uint8Array>(name, { keyEncoding: 'utf8', valueEncoding: 'view' }),
    ]),
  ) as Record<Sublevel, ReturnType<typeof database.sublevel<string, Uint8Array>>>

  const store: Store = {
    async commit(operations) {
      await database.batch<string, Uint8Array>(
        operations.map((operation) =>
          operation.type === 'put'
            ? {
                type: 'put' as const,
                sublevel: rows[operation.sublevel],
                key: operation.key,
                value: sealRow(operation.value),
              }
            : { type: 'del' as const, sublevel: rows[operation.sublevel], key: operation.key },
        ),
        { sync: true },
      )
    },
    async get(sublevel, key) {
      const sealed = await rows[sublevel].get(key)
      return sealed === undefined ? undefined : unsealRow(sealed, `${sublevel}/${key}`)
    },
    async *range(sublevel, range = {}) {
      for await (const [key, sealed] of rows[sublevel].iterator(range)) {
        yield [key, unsealRow(sealed, `${sublevel}/${key}`)] as const
      }
    },
    async close() {
      await database.close()
      await lock.release()
    },
  }

  try {
    const stored = await store.get('meta', 'schema')
    const version = stored === undefined ? SCHEMA_VERSION : parseSchemaVersion(stored)
    if (version > SCHEMA_VERSION) {
      throw new HyperError('STATE_TOO_NEW', `${folder} was written by a later version of hyper`)
    }
    // LevelDB makes its first files without syncing their folder: one synced batch and a sync of
    // the folders before anything is promised.
    await store.commit([put('meta', 'schema', SCHEMA_VERSION)])
    await syncFolder(`${folder}/ledger`)
    await syncFolder(folder)
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}
