/**
 * A damaged disk, read whole: all that is wrong with it, by name. It reads only; what is made of it
 * where the operator accepts the loss is salvage.ts's.
 */

import { HyperError, messageOf } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { LogLine } from '../../protocol/log-line.ts'
import { parseCallRow } from '../call-row.ts'
import { parseLogKey } from '../log-key.ts'
import { parseCallIdRow, parseHistoryRow, parseLogRow, rowKey } from '../rows.ts'
import { blobFileName } from './bodies.ts'
import { type Damage, type FoundLine, findDamage, type Repair } from './damage.ts'
import type { Drive, RawRow } from './drive.ts'
import { indexTable } from './inspection.ts'
import { readPages } from './pages.ts'
import { decodeRow } from './row-form.ts'
import { isSameSum, type Sums } from './sums.ts'
import { BODIES, type BodyKind, SUMMED, type SummedTable } from './tables.ts'

const nothingFound = () => ({
  keys: new Map<SummedTable, Set<string>>(),
  inputs: new Set<string>(),
  stdouts: new Set<string>(),
  stderrs: new Set<string>(),
  calls: new Map<string, string>(),
  histories: new Map<string, string>(),
  callIds: new Map<string, string>(),
  stderrsOfLines: new Set<string>(),
  linesWithoutBody: new Map<string, FoundLine>(),
})
type Filled = ReturnType<typeof nothingFound>

const isBody = (table: SummedTable): table is BodyKind => BODIES.some((kind) => kind === table)

const bodiesOf = (found: Filled, kind: BodyKind): Set<string> =>
  ({ input: found.inputs, stdout: found.stdouts, stderr: found.stderrs })[kind]

/** A body goes with the history row of its call: without that, a line says what was. */
const enterLine = (found: Filled, lineKey: string, line: LogLine): void => {
  const { funcId, line: stored } = parseLogKey(lineKey)
  if (stored.end === null || stored.end.stderrBytes === 0) return
  const key = rowKey(funcId, stored.end.seq)
  found.stderrsOfLines.add(key)
  if (found.histories.has(key) && !found.stderrs.has(key)) {
    found.linesWithoutBody.set(key, { key: lineKey, funcId, stored, line })
  }
}

/** Takes down what a row says. Throws for one that cannot be read. */
const enter = (found: Filled, table: SummedTable, [key, stored]: RawRow): void => {
  if (isBody(table)) {
    bodiesOf(found, table).add(key)
    return
  }
  const value = decodeRow(stored, `${table}/${key}`)
  if (table === 'call') found.calls.set(key, parseCallRow(value).id)
  else if (table === 'history') found.histories.set(key, parseHistoryRow(value).id)
  else if (table === 'log') enterLine(found, key, parseLogRow(value))
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
const readBlobs = async (drive: Drive, found: Filled): Promise<Damage[]> => {
  const names = await listNames(drive)
  const damages: Damage[] = []
  for await (const rows of readPages(drive.page, 'blob')) {
    for (const [blob, stored] of rows) {
      const repair: Repair[] = [{ table: 'blob', key: blob }]
      const kind = BODIES.find((one) => blob.startsWith(`${one}/`))
      try {
        const name = blobFileName(blob, stored)
        if (!names.has(name)) damages.push({ what: `the file ${name} is missing`, repair })
        else if (kind !== undefined) bodiesOf(found, kind).add(blob.slice(kind.length + 1))
      } catch {
        damages.push({ what: `blob/${blob} cannot be read`, repair })
      }
    }
  }
  return damages
}

/** Lines of logs are told by what was found before them. */
const IN_ORDER: readonly SummedTable[] = [...SUMMED.filter((table) => table !== 'log'), 'log']

/** Rows that cannot be read, and what is missing among the others. */
const readAll = async (
  drive: Drive,
): Promise<{ readonly unreadable: readonly Damage[]; readonly missing: readonly Damage[] }> => {
  const found = nothingFound()
  const damages = await readBlobs(drive, found)
  for (const table of IN_ORDER) {
    if (table === 'blob') continue
    for await (const rows of readPages(drive.page, table, { keysOnly: isBody(table) })) {
      for (const row of rows) {
        try {
          enter(found, table, row)
        } catch {
          const [key] = row
          damages.push({ what: `${table}/${key} cannot be read`, repair: [{ table, key }] })
        }
      }
    }
  }
  return { unreadable: damages, missing: findDamage(found) }
}

const rowsOf = (count: number): string => (count === 1 ? '1 row' : `${count} rows`)

/** What the sums miss. A table whose count is right has a row that is not the last one written. */
const compareSums = async (drive: Drive, sums: Sums): Promise<Damage[]> => {
  const damages: Damage[] = []
  for (const table of SUMMED) {
    const found = (await indexTable(drive.textPage, table)).sum()
    const expected = sums.tables[table]
    if (isSameSum(found, expected)) continue
    const what =
      found.count === expected.count
        ? `${table} has ${rowsOf(found.count)}, and not all are the last that were written`
        : `${table} has ${rowsOf(found.count)}, ${expected.count} ${expected.count === 1 ? 'was' : 'were'} written`
    damages.push({ what, repair: [] })
  }
  return damages
}

/**
 * All that is wrong, in words. Without sums they are part of it. Where the sums are right and all can
 * be read, nothing is wrong here, whatever the rows say to each other.
 */
export const survey = async (drive: Drive, sums: Sums | undefined): Promise<Damage[]> => {
  const differences =
    sums === undefined
      ? [{ what: 'the sums of the stored rows cannot be read', repair: [] }]
      : await compareSums(drive, sums)
  const { unreadable, missing } = await readAll(drive)
  const damage = [...differences, ...unreadable]
  return damage.length === 0 ? [] : [...damage, ...missing]
}

/** The first of them, for one line. */
const summaryOf = (damages: readonly Damage[]): string => {
  const named = damages.slice(0, limits.lossesNamedMax).map(({ what }) => what)
  const more = damages.length - named.length
  return [...named, ...(more > 0 ? [`and ${more} more`] : [])].join('; ')
}

/** Looks at all of the disk, so that the operator is told all that is wrong at once. */
export const damageOf = async (drive: Drive, sums: Sums | undefined): Promise<HyperError> => {
  const what = await survey(drive, sums).then(summaryOf, messageOf)
  return new HyperError('STATE_DAMAGED', `stored rows are damaged: ${what}`)
}

export const isDamage = (error: unknown): error is HyperError =>
  error instanceof HyperError && error.code === 'STATE_DAMAGED'
