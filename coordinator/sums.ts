/**
 * Count and additive hash of the live rows of each table, kept by every commit in one row, so that a
 * start can prove that nothing is missing and nothing too much: LevelDB drops damaged parts of its
 * files without a word.
 *
 * A table's hash is the sum of its rows' shares, in two lanes of 32 bits. The share of a row that is
 * written once is that of its key; a row that is rewritten under its key adds the checksum of its
 * value, for a former value would be damage, too (BY_VALUE). What a row's bytes are is told by its own
 * checksum (daemon/sealed-row.ts), and a body's file is a row of `blob`.
 *
 * The row also numbers the commits: after a refusal it tells whether the last one was written.
 */

import Type, { type Static } from 'typebox'
import { checksumOf, sealRow, unsealRow } from '../daemon/sealed-row.ts'
import { HyperError } from '../protocol/errors.ts'
import { createParser } from '../protocol/schema.ts'
import type { RawOperation } from './drive.ts'
import { SCHEMA_ROW, SUMMED, type SummedTable, type Table } from './tables.ts'

export interface Sum {
  readonly count: number
  readonly low: number
  readonly high: number
}

export interface Sums {
  /** Of the last commit; 0 for a new store. */
  readonly commit: number
  readonly tables: Readonly<Record<SummedTable, Sum>>
}

/** Whose rows are rewritten under their keys. Of the others only presence matters. */
const BY_VALUE: ReadonlySet<Table> = new Set([
  'meta',
  'account',
  'func',
  'image',
  'member',
  'invite',
  'call',
  'blob',
] satisfies SummedTable[])

export const isByValue = (table: Table): boolean => BY_VALUE.has(table)

const isSummed = (table: Table, key: string): boolean =>
  table !== 'sums' && !(table === SCHEMA_ROW.table && key === SCHEMA_ROW.key)

export const EMPTY_SUM: Sum = { count: 0, low: 0, high: 0 }

export const isSameSum = (a: Sum, b: Sum): boolean =>
  a.count === b.count && a.low === b.low && a.high === b.high

/** A running sum. Cheap enough for a million rows at start. */
export const createTally = (table: Table, from: Sum = EMPTY_SUM) => {
  const byValue = isByValue(table)
  let { count, low, high } = from
  const change = (sign: 1 | -1, key: string, sealed: Uint8Array): void => {
    if (!isSummed(table, key)) return
    const seed = byValue ? checksumOf(sealed) : 0
    let a = seed ^ 0x9e3779b9
    let b = Math.imul(seed, 0x85ebca6b) ^ 0x5bd1e995
    for (let at = 0; at < key.length; at += 1) {
      const code = key.charCodeAt(at)
      a = Math.imul(a ^ code, 0x01000193)
      b = Math.imul((b << 13) | (b >>> 19), 0x2545f491) ^ code
    }
    a = Math.imul(a ^ (a >>> 15), 0x7feb352d)
    b = Math.imul(b ^ (b >>> 16), 0x846ca68b)
    count += sign
    low = (low + sign * ((a ^ (b >>> 13)) >>> 0)) >>> 0
    high = (high + sign * ((b ^ (a >>> 17)) >>> 0)) >>> 0
  }
  return {
    /** `sealed` matters only where rows are rewritten. */
    add: (key: string, sealed: Uint8Array): void => change(1, key, sealed),
    remove: (key: string, sealed: Uint8Array): void => change(-1, key, sealed),
    sum: (): Sum => ({ count, low, high }),
  }
}

export type Tally = ReturnType<typeof createTally>

export const emptySums = (): Sums => ({
  commit: 0,
  tables: Object.fromEntries(SUMMED.map((table) => [table, EMPTY_SUM])) as Sums['tables'],
})

/** The sums after a commit, given what stood under each of its keys before (undefined: nothing). */
export const sumsAfter = (
  sums: Sums,
  operations: readonly RawOperation[],
  former: readonly (Uint8Array | undefined)[],
): Sums => {
  const tallies = new Map<SummedTable, Tally>()
  operations.forEach((operation, index) => {
    const { table, key } = operation
    if (table === 'sums') return
    const tally = tallies.get(table) ?? createTally(table, sums.tables[table])
    tallies.set(table, tally)
    const before = former[index]
    if (before !== undefined) tally.remove(key, before)
    if (operation.type === 'put') tally.add(key, operation.value)
  })
  const tables = { ...sums.tables }
  for (const [table, tally] of tallies) tables[table] = tally.sum()
  return { commit: sums.commit + 1, tables }
}

export const SUMS_ROW = { table: 'sums', key: 'all' } as const

const Number32 = Type.Integer({ minimum: 0, maximum: 0xffff_ffff })
const SumsSchema = Type.Object({
  commit: Type.Integer({ minimum: 0 }),
  /** Tables without rows are left out, and those of a later version were never there. */
  tables: Type.Record(
    Type.String(),
    Type.Tuple([Type.Integer({ minimum: 0 }), Number32, Number32]),
  ),
})
const parseSums = createParser(SumsSchema, 'STATE_DAMAGED', 'stored sums')

export const putSums = ({ commit, tables }: Sums): RawOperation => {
  const row: Static<typeof SumsSchema> = { commit, tables: {} }
  for (const table of SUMMED) {
    const { count, low, high } = tables[table]
    if (count > 0) row.tables[table] = [count, low, high]
  }
  return { type: 'put', ...SUMS_ROW, value: sealRow(row) }
}

/** Throws STATE_DAMAGED. */
export const decodeSums = (sealed: Uint8Array): Sums => {
  const { commit, tables } = parseSums(unsealRow(sealed, 'sums/all'))
  const sums = { ...emptySums().tables }
  const isKnown = (name: string): name is SummedTable => Object.hasOwn(sums, name)
  for (const [name, [count, low, high]] of Object.entries(tables)) {
    if (!isKnown(name)) throw new HyperError('STATE_DAMAGED', `the sums name a table ${name}`)
    sums[name] = { count, low, high }
  }
  return { commit, tables: sums }
}
