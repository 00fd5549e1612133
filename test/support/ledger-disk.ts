/**
 * A disk in memory that keeps the contract of coordinator/store.ts: atomic commits, rows in order of
 * their keys. Values go through the stored form, so that what could not be stored fails here, too.
 */

import { type Operation, type Store, SUBLEVELS, type Sublevel } from '../../coordinator/store.ts'
import { sealRow, unsealRow } from '../../daemon/sealed-row.ts'

export interface Disk extends Store {
  /** Without a promise, for a simulation that is its own clock. */
  commitNow(operations: readonly Operation[]): void
  keys(sublevel: Sublevel): string[]
  value(sublevel: Sublevel, key: string): unknown
}

export const createDisk = (): Disk => {
  const rows = new Map<Sublevel, Map<string, Uint8Array>>(
    SUBLEVELS.map((name) => [name, new Map()]),
  )
  const of = (sublevel: Sublevel): Map<string, Uint8Array> => rows.get(sublevel) ?? new Map()
  const value = (sublevel: Sublevel, key: string): unknown => {
    const sealed = of(sublevel).get(key)
    return sealed === undefined ? undefined : unsealRow(sealed, `${sublevel}/${key}`)
  }
  const commitNow = (operations: readonly Operation[]): void => {
    for (const operation of operations) {
      if (operation.type === 'del') of(operation.sublevel).delete(operation.key)
      else of(operation.sublevel).set(operation.key, sealRow(operation.value))
    }
  }
  return {
    commitNow,
    commit: async (operations) => commitNow(operations),
    keys: (sublevel) => [...of(sublevel).keys()].sort(),
    value,
    get: async (sublevel, key) => value(sublevel, key),
    async *range(sublevel, { gt = '', lt, reverse = false, limit } = {}) {
      const keys = [...of(sublevel).keys()]
        .filter((key) => key > gt && (lt === undefined || key < lt))
        .sort()
      if (reverse) keys.reverse()
      for (const key of keys.slice(0, limit)) yield [key, value(sublevel, key)] as const
    },
    close: async () => undefined,
  }
}
