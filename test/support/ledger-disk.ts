/**
 * A disk in memory that keeps the contract of coordinator/store/store.ts: atomic commits, rows in order of
 * their keys. Values go through the stored form, so that what could not be stored fails here, too.
 */

import { decodeRow, encodeRow } from '../../coordinator/store/row-form.ts'
import {
  BODIES,
  type BodyKind,
  type Operation,
  type Store,
  SUBLEVELS,
  type Sublevel,
} from '../../coordinator/store/store.ts'

export interface Disk extends Store {
  /** Without a promise, for a simulation that is its own clock. */
  commitNow(operations: readonly Operation[]): void
  keys(table: Sublevel | BodyKind): string[]
  value(sublevel: Sublevel, key: string): unknown
}

export const createDisk = (): Disk => {
  const tables = new Map<Sublevel | BodyKind, Map<string, Uint8Array>>(
    [...SUBLEVELS, ...BODIES].map((name) => [name, new Map()]),
  )
  const of = (table: Sublevel | BodyKind): Map<string, Uint8Array> => tables.get(table) ?? new Map()
  const value = (sublevel: Sublevel, key: string): unknown => {
    const sealed = of(sublevel).get(key)
    return sealed === undefined ? undefined : decodeRow(sealed, `${sublevel}/${key}`)
  }
  const commitNow = (operations: readonly Operation[]): void => {
    for (const operation of operations) {
      const { type, key } = operation
      if (type === 'put') of(operation.sublevel).set(key, encodeRow(operation.value))
      else if (type === 'del') of(operation.sublevel).delete(key)
      else if (type === 'put-body') of(operation.kind).set(key, operation.bytes.slice())
      else of(operation.kind).delete(key)
    }
  }
  return {
    commitNow,
    commit: async (operations) => commitNow(operations),
    keys: (table) => [...of(table).keys()].sort(),
    value,
    get: async (sublevel, key) => value(sublevel, key),
    body: async (kind, key) => of(kind).get(key),
    async *range(sublevel, { gt = '', lt, reverse = false, limit } = {}) {
      const keys = [...of(sublevel).keys()]
        .filter((key) => key > gt && (lt === undefined || key < lt))
        .sort()
      if (reverse) keys.reverse()
      for (const key of keys.slice(0, limit)) yield [key, value(sublevel, key)] as const
    },
    async scan(sublevel, onRow) {
      for (const key of [...of(sublevel).keys()].sort()) onRow(key, value(sublevel, key))
    },
    async scanKeys(sublevel, onKey) {
      for (const key of [...of(sublevel).keys()].sort()) onKey(key)
    },
    verify: async () => undefined,
    snapshot: async () => {
      throw new Error('there is no snapshot of a disk in memory')
    },
    isWritable: () => true,
    close: async () => undefined,
  }
}
