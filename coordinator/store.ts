/**
 * The coordinator's disk: rows, bodies, and one write primitive.
 *
 * *Rows* are small values in sublevels, in order of their keys. *Bodies* are bytes up to a few MB
 * (inputs, outputs), each written once under its key and never changed; where they lie is the
 * store's own affair. `commit(operations)` is atomic and synced: when it resolves, all of it survives
 * a power cut. Callers keep one commit in flight (the commit loop does), because LevelDB completes
 * concurrent batches out of order. Everything stored carries a checksum; what fails it is
 * STATE_DAMAGED, never repaired. One process and one Store own a folder (daemon/level.ts).
 */

import Type from 'typebox'
import { type Database, openLevel } from '../daemon/level.ts'
import { sealRow, unsealRow } from '../daemon/sealed-row.ts'
import { assert, assertNever } from '../protocol/assert.ts'
import { createParser } from '../protocol/schema.ts'

export const SUBLEVELS = [
  'meta',
  'account',
  'func',
  'image',
  'member',
  'invite',
  'call',
  'lease',
  'history',
  'callid',
  'owed',
  'output',
  'fetched',
  'log',
] as const
export type Sublevel = (typeof SUBLEVELS)[number]

/** What a call was given, and what its process wrote. */
export const BODIES = ['input', 'stdout', 'stderr'] as const
export type BodyKind = (typeof BODIES)[number]

export type Operation =
  | {
      readonly type: 'put'
      readonly sublevel: Sublevel
      readonly key: string
      readonly value: unknown
    }
  | { readonly type: 'del'; readonly sublevel: Sublevel; readonly key: string }
  | {
      readonly type: 'put-body'
      readonly kind: BodyKind
      readonly key: string
      readonly bytes: Uint8Array
    }
  | { readonly type: 'del-body'; readonly kind: BodyKind; readonly key: string }

export const put = (sublevel: Sublevel, key: string, value: unknown): Operation => ({
  type: 'put',
  sublevel,
  key,
  value,
})
export const del = (sublevel: Sublevel, key: string): Operation => ({ type: 'del', sublevel, key })
export const putBody = (kind: BodyKind, key: string, bytes: Uint8Array): Operation => ({
  type: 'put-body',
  kind,
  key,
  bytes,
})
export const delBody = (kind: BodyKind, key: string): Operation => ({ type: 'del-body', kind, key })

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
  /** Undefined where there is none. */
  body(kind: BodyKind, key: string): Promise<Uint8Array | undefined>
  /** Rows in order of their keys. */
  range(sublevel: Sublevel, range?: Range): AsyncGenerator<readonly [string, unknown]>
  close(): Promise<void>
}

/** Raised with every change of a row's shape. */
const SCHEMA_VERSION = 2

/** Numbers in keys are padded so that their order is that of their text. */
export const numberKey = (value: number): string => value.toString().padStart(16, '0')

const parseSchemaVersion = createParser(Type.Integer(), 'STATE_DAMAGED', 'schema version')

const openSublevel = (database: Database, name: Sublevel | BodyKind) =>
  database.sublevel<string, Uint8Array>(name, { keyEncoding: 'utf8', valueEncoding: 'view' })

/** Opens, or makes, the store in `folder`. Throws as `openLevel` does. */
export const openStore = async (folder: string): Promise<Store> => {
  const { database, close } = await openLevel({
    folder,
    name: 'ledger',
    schemaVersion: SCHEMA_VERSION,
    async readVersion(opened) {
      const sealed = await openSublevel(opened, 'meta').get('schema')
      return sealed === undefined ? undefined : parseSchemaVersion(unsealRow(sealed, 'meta/schema'))
    },
    writeFirst: (opened) =>
      opened.batch<string, Uint8Array>(
        [
          {
            type: 'put',
            sublevel: openSublevel(opened, 'meta'),
            key: 'schema',
            value: sealRow(SCHEMA_VERSION),
          },
        ],
        { sync: true },
      ),
  })
  const rows = Object.fromEntries(
    [...SUBLEVELS, ...BODIES].map((name) => [name, openSublevel(database, name)]),
  ) as Record<Sublevel | BodyKind, ReturnType<typeof openSublevel>>
  return {
    async commit(operations) {
      await database.batch<string, Uint8Array>(
        operations.map((operation) => {
          const { key } = operation
          switch (operation.type) {
            case 'put': {
              const value = sealRow(operation.value)
              return { type: 'put' as const, sublevel: rows[operation.sublevel], key, value }
            }
            case 'put-body': {
              const value = sealRow(operation.bytes)
              return { type: 'put' as const, sublevel: rows[operation.kind], key, value }
            }
            case 'del':
              return { type: 'del' as const, sublevel: rows[operation.sublevel], key }
            case 'del-body':
              return { type: 'del' as const, sublevel: rows[operation.kind], key }
            default:
              return assertNever(operation)
          }
        }),
        { sync: true },
      )
    },
    async body(kind, key) {
      const sealed = await rows[kind].get(key)
      if (sealed === undefined) return undefined
      const bytes = unsealRow(sealed, `${kind}/${key}`)
      assert(bytes instanceof Uint8Array, 'a body is bytes')
      return bytes
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
    close,
  }
}
