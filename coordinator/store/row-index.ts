/**
 * Which rows of a table are live, in memory: for each the hash of its key and the checksum of its
 * value (hash-table.ts), and the sum over all of them (sums.ts), of the keys' prints. It lets a commit keep the sums
 * without reading what stood there before. LevelDB must not be asked: every look-up of a key that is
 * not there counts against one of its files, and a few hundred of them have that file written anew.
 */

import { getRandomValues } from 'node:crypto'
import { type Bits, createHasher, createHashTable } from '../hash-table.ts'
import type { Sum } from './sums.ts'

export interface RowIndex {
  /** `checksum` is that of the value as stored; of a table whose rows count by their keys, 0. */
  put(key: string, checksum: number): void
  delete(key: string): void
  has(key: string): boolean
  sum(): Sum
}

/** `expected`: how many rows are about to come. */
export const createRowIndex = (isByValue: boolean, expected = 0): RowIndex => {
  const rows = createHashTable({ hasNumbers: isByValue, expected })
  // Keys hold names that users choose.
  const hash = createHasher(getRandomValues(new Uint32Array(2)))
  let [count, sumLow, sumHigh] = [0, 0, 0]

  /** Adds or takes away the share of a row. */
  const change = (sign: 1 | -1, { low, high }: Bits, checksum: number): void => {
    const mixed = Math.imul(checksum ^ (checksum >>> 16), 0x45d9f3b)
    count += sign
    sumLow = (sumLow + sign * ((low ^ mixed) >>> 0)) >>> 0
    sumHigh = (sumHigh + sign * ((high ^ Math.imul(mixed ^ low, 0x27d4eb2f)) >>> 0)) >>> 0
  }

  return {
    put(key, checksum) {
      const row = hash(key)
      const counted = isByValue ? checksum : 0
      const former = rows.set(row, counted)
      if (former !== undefined) change(-1, row.print, former)
      change(1, row.print, counted)
    },
    delete(key) {
      const row = hash(key)
      const former = rows.get(row)
      if (former === undefined) return
      change(-1, row.print, former)
      rows.delete(row)
    },
    has: (key) => rows.get(hash(key)) !== undefined,
    sum: () => ({ count, low: sumLow, high: sumHigh }),
  }
}
