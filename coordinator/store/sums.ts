/**
 * Count and additive hash of the live rows of each table, kept by every commit in one row, so that a
 * start can prove that nothing is missing and nothing too much: LevelDB drops damaged parts of its
 * files without a word.
 *
 * A row counts by its key and the checksum of its value, for a former value would be damage, too. A
 * body in its table, or a line of a log, is written once and counts by its key alone, so that a start
 * does not read a single one; what its bytes are is told by their own checksum. A body in a file
 * counts by the row of `blob` that points to it. The numbers themselves are kept by row-index.ts.
 *
 * The row also numbers the commits: after a refusal it tells whether the last one was written.
 */

import Type from 'typebox'
import { sealRow, unsealRow } from '../../daemon/sealed-row.ts'
import { HyperError } from '../../protocol/errors.ts'
import { createParser } from '../../protocol/schema.ts'
import type { Drive, RawOperation } from './drive.ts'
import { BODIES, SCHEMA_ROW, SUMMED, type SummedTable, type Table } from './tables.ts'

export interface Sum {
  readonly count: number
  readonly low: number
  readonly high: number
}

export interface Sums {
  /** Number of the last commit; 0 for a new store. */
  readonly commit: number
  readonly tables: Readonly<Record<SummedTable, Sum>>
}

const BY_KEY: ReadonlySet<Table> = new Set<Table>([...BODIES, 'log'])

/** Whether a table's rows count by key and value, or by key alone. */
export const isByValue = (table: Table): boolean => !BY_KEY.has(table)

/** Whose row a table's sum counts: not the sums themselves, not the schema's version. */
export const isSummed = (table: Table, key: string): boolean =>
  table !== 'sums' && table !== 'payload' && !(table === SCHEMA_ROW.table && key === SCHEMA_ROW.key)

const EMPTY: Sum = { count: 0, low: 0, high: 0 }

export const emptySums = (): Sums => ({
  commit: 0,
  tables: Object.fromEntries(SUMMED.map((table) => [table, EMPTY])) as Sums['tables'],
})

export const isSameSum = (a: Sum, b: Sum): boolean =>
  a.count === b.count && a.low === b.low && a.high === b.high

export const addSum = (a: Sum, b: Sum): Sum => ({
  count: a.count + b.count,
  low: (a.low + b.low) >>> 0,
  high: (a.high + b.high) >>> 0,
})

export const subtractSum = (a: Sum, b: Sum): Sum => ({
  count: a.count - b.count,
  low: (a.low - b.low) >>> 0,
  high: (a.high - b.high) >>> 0,
})

export const SUMS_ROW = { table: 'sums', key: 'all' } as const

/** Written by every commit, so packed: for each table named, in that order, count (8 bytes), low, high. */
const SumsSchema = Type.Object({
  commit: Type.Integer({ minimum: 0 }),
  tables: Type.String(),
  sums: Type.Unsafe<Uint8Array>({}),
})
const parseSums = createParser(SumsSchema, 'STATE_DAMAGED', 'stored sums')

const SUM_BYTES = 16
const NAMES = SUMMED.join(' ')

export const putSums = ({ commit, tables }: Sums): RawOperation => {
  const sums = new Uint8Array(SUM_BYTES * SUMMED.length)
  const view = new DataView(sums.buffer)
  SUMMED.forEach((table, index) => {
    const { count, low, high } = tables[table]
    view.setFloat64(SUM_BYTES * index, count)
    view.setUint32(SUM_BYTES * index + 8, low)
    view.setUint32(SUM_BYTES * index + 12, high)
  })
  return { type: 'put', ...SUMS_ROW, value: sealRow({ commit, tables: NAMES, sums }) }
}

/** Throws STATE_DAMAGED. A table that the row does not name is new, and empty. */
export const decodeSums = (sealed: Uint8Array): Sums => {
  const row = parseSums(unsealRow(sealed, 'sums/all'))
  const tables = { ...emptySums().tables }
  const isKnown = (name: string): name is SummedTable => Object.hasOwn(tables, name)
  const view = new DataView(row.sums.buffer, row.sums.byteOffset, row.sums.byteLength)
  row.tables.split(' ').forEach((name, index) => {
    if (!isKnown(name) || view.byteLength < SUM_BYTES * (index + 1)) {
      throw new HyperError('STATE_DAMAGED', `the stored sums do not fit their tables, ${name}`)
    }
    tables[name] = {
      count: view.getFloat64(SUM_BYTES * index),
      low: view.getUint32(SUM_BYTES * index + 8),
      high: view.getUint32(SUM_BYTES * index + 12),
    }
  })
  return { commit: row.commit, tables }
}

/** LevelDB gives up the rest of such a block of its log where a record in it is damaged. */
const LOG_BLOCK_BYTES = 32 * 1024
const PADDING = { table: 'sums', key: 'end' } as const

/**
 * The sums once more, under the next number and a block further on. Damage at the very end of the log
 * looks like a write that was cut off, and is passed over: so the last commit must not stand there.
 */
export const markEnd = async (drive: Pick<Drive, 'batch'>, sums: Sums): Promise<void> => {
  if (sums.commit === 0) return
  await drive.batch([{ type: 'put', ...PADDING, value: new Uint8Array(LOG_BLOCK_BYTES) }])
  await drive.batch([{ type: 'del', ...PADDING }, putSums({ ...sums, commit: sums.commit + 1 })])
}
