/**
 * A damaged disk, read whole: what is wrong with it by name, and, where the operator accepts the
 * loss, the rest made consistent again. What cannot be read and what has lost its other half goes;
 * each loss is told before anything is written. Cut off in the middle, it is begun again: the sums
 * are written last.
 */

import { HyperError, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { blobFileName } from './bodies.ts'
import { parseCallRow } from './call-row.ts'
import { type Found, findLosses, type Loss, type Repair } from './damage.ts'
import type { Drive, RawOperation, RawRow } from './drive.ts'
import { indexBlobs, indexTable } from './inspection.ts'
import { readPages } from './pages.ts'
import { decodeRow, encodeRow } from './row-form.ts'
import { parseCallIdRow, parseHistoryRow, rowKey } from './rows.ts'
import { decodeSums, emptySums, isSameSum, isSummed, putSums, SUMS_ROW, type Sums } from './sums.ts'
import { BODIES, type BodyKind, SUMMED, type SummedTable } from './tables.ts'

type Filling<K, V> = Map<K, V>

interface Filled extends Found {
  readonly keys: Filling<SummedTable, Set<string>>
  readonly inputs: Set<string>
  readonly stdouts: Set<string>
  readonly stderrs: Set<string>
  readonly calls: Filling<string, string>
  readonly histories: Filling<string, string>
  readonly callIds: Filling<string, string>
}

const isBody = (table: SummedTable): table is BodyKind => BODIES.some((kind) => kind === table)

const bodiesOf = (found: Filled, kind: BodyKind): Set<string> =>
  ({ input: found.inputs, stdout: found.stdouts, stderr: found.stderrs })[kind]

/** Takes down what a row says. Throws for one that cannot be read. */
const enter = (found: Filled, table: SummedTable, [key, sealed]: RawRow): void => {
  if (isBody(table)) {
    bodiesOf(found, table).add(key)
    return
  }
  const value = decodeRow(sealed, `${table}/${key}`)
  if (table === 'call') found.calls.set(key, parseCallRow(value).id)
  else if (table === 'history') found.histories.set(key, parseHistoryRow(value).id)
  else if (table === 'callid') {
    const { funcId, seq } = parseCallIdRow(value)
    found.callIds.set(key, rowKey(funcId, seq))
  }
  const keys = found.keys.get(table) ?? new Set()
  found.keys.set(table, keys.add(key))
}

const listNames = async (drive: Drive): Promise<ReadonlySet<string>> => {
  const names = new Set<string>()
  for await (const listed of drive.listFiles()) for (const name of listed) names.add(name)
  return names
}

/** The bodies in files. A pointer whose file is missing is a loss by itself. */
const readBlobs = async (drive: Drive, found: Filled): Promise<Loss[]> => {
  const names = await listNames(drive)
  const losses: Loss[] = []
  for await (const rows of readPages(drive.page, 'blob')) {
    for (const [blob, sealed] of rows) {
      const repair: Repair[] = [{ table: 'blob', key: blob }]
      const kind = BODIES.find((one) => blob.startsWith(`${one}/`))
      try {
        const name = blobFileName(blob, sealed)
        if (!names.has(name)) losses.push({ what: `the file ${name} is missing`, repair })
        else if (kind !== undefined) bodiesOf(found, kind).add(blob.slice(kind.length + 1))
      } catch {
        losses.push({ what: `blob/${blob} cannot be read`, repair })
      }
    }
  }
  return losses
}

/** Rows that cannot be read, and what is missing among the others. */
const readAll = async (
  drive: Drive,
): Promise<{ readonly unreadable: readonly Loss[]; readonly missing: readonly Loss[] }> => {
  const found: Filled = {
    ...{
      keys: new Map(),
      inputs: new Set(),
      stdouts: new Set(),
      stderrs: new Set(),
      calls: new Map(),
    },
    ...{ histories: new Map(), callIds: new Map() },
  }
  const losses = await readBlobs(drive, found)
  for (const table of SUMMED) {
    if (table === 'blob') continue
    for await (const rows of readPages(drive.page, table, { keysOnly: isBody(table) })) {
      for (const row of rows) {
        try {
          enter(found, table, row)
        } catch {
          const [key] = row
          losses.push({ what: `${table}/${key} cannot be read`, repair: [{ table, key }] })
        }
      }
    }
  }
  return { unreadable: losses, missing: findLosses(found) }
}

/** What the sums miss. A table whose count is right has a row that is not the last one written. */
const compareSums = async (drive: Drive, sums: Sums): Promise<Loss[]> => {
  const losses: Loss[] = []
  for (const table of SUMMED) {
    const found = (await indexTable(drive.textPage, table)).sum()
    const expected = sums.tables[table]
    if (isSameSum(found, expected)) continue
    const what =
      found.count === expected.count
        ? `${table} has ${found.count} rows, and not all are the last that were written`
        : `${table} has ${found.count} rows, ${expected.count} were written`
    losses.push({ what, repair: [] })
  }
  return losses
}

/**
 * All that is wrong, in words. Without sums they are part of it. Where the sums are right and all can
 * be read, nothing is wrong here, whatever the rows say to each other.
 */
const inspect = async (drive: Drive, sums: Sums | undefined): Promise<Loss[]> => {
  const differences =
    sums === undefined
      ? [{ what: 'the sums of the stored rows cannot be read', repair: [] }]
      : await compareSums(drive, sums)
  const { unreadable, missing } = await readAll(drive)
  const damage = [...differences, ...unreadable]
  return damage.length === 0 ? [] : [...damage, ...missing]
}

/** The first of them, for one line. */
const summaryOf = (losses: readonly Loss[]): string => {
  const named = losses.slice(0, limits.lossesNamedMax).map(({ what }) => what)
  const more = losses.length - named.length
  return [...named, ...(more > 0 ? [`and ${more} more`] : [])].join('; ')
}

const repairOf = ({ table, key, value }: Repair): RawOperation =>
  value === undefined
    ? { type: 'del', table, key }
    : { type: 'put', table, key, value: encodeRow(value) }

/** Tells every loss, makes the rest consistent, and gives its sums. */
const salvage = async (
  drive: Drive,
  sums: Sums | undefined,
  onLoss: (what: string) => void,
): Promise<Sums> => {
  const losses = await inspect(drive, sums).catch(async (error: unknown) => {
    if (!isDamage(error)) throw error
    const copy = await drive.repair()
    onLoss(`${messageOf(error)}; what could be read was kept, the former files are in ${copy}`)
    return inspect(drive, sums)
  })
  if (sums !== undefined && losses.length === 0) return sums
  for (const { what } of losses) onLoss(what)
  const repairs = losses.flatMap(({ repair }) => repair.map(repairOf))
  while (repairs.length > 0) await drive.batch(repairs.splice(0, limits.pageRowsMax))
  return recount(drive, sums?.commit ?? 0)
}

/** Writes the sums of what is there, and `more` with them: of a salvaged disk, or a migrated one. */
export const recount = async (
  drive: Drive,
  lastCommit: number,
  more: readonly RawOperation[] = [],
): Promise<Sums> => {
  const entries: [SummedTable, Sums['tables'][SummedTable]][] = []
  for (const table of SUMMED) entries.push([table, (await indexTable(drive.textPage, table)).sum()])
  const { highestCommit } = await indexBlobs(drive, () => undefined)
  const tables = Object.fromEntries(entries) as Sums['tables']
  // Above the number in any file's name, which no other body may get.
  const sums = { commit: Math.max(lastCommit, highestCommit) + 1, tables }
  await drive.batch([...more, putSums(sums)])
  return sums
}

export const isDamage = (error: unknown): boolean =>
  error instanceof HyperError && error.code === 'STATE_DAMAGED'

export const readSums = async (drive: Drive): Promise<Sums | undefined> => {
  const [sealed] = await drive.getMany([SUMS_ROW])
  return sealed === undefined ? undefined : decodeSums(sealed)
}

const isEmpty = async (drive: Drive): Promise<boolean> => {
  for (const table of SUMMED) {
    const rows = await drive.page(table, { limit: 2 })
    if (rows.some(([key]) => isSummed(table, key))) return false
  }
  return true
}

/** The sums on the disk. There are none only where there is nothing at all. */
export const loadSums = async (drive: Drive, onLoss?: (what: string) => void): Promise<Sums> => {
  try {
    const sums = await readSums(drive)
    if (sums === undefined && (await isEmpty(drive))) return emptySums()
    if (onLoss !== undefined) return await salvage(drive, sums, onLoss)
    if (sums !== undefined) return sums
  } catch (error) {
    if (!isDamage(error)) throw error
    if (onLoss !== undefined) return salvage(drive, undefined, onLoss)
  }
  throw await damageOf(drive, undefined)
}

/** Looks at all of the disk, so that the operator is told all that is wrong at once. */
export const damageOf = async (drive: Drive, sums: Sums | undefined): Promise<HyperError> => {
  const what = await inspect(drive, sums).then(summaryOf, messageOf)
  return new HyperError('STATE_DAMAGED', `stored rows are damaged: ${what}`)
}
