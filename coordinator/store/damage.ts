/**
 * What is missing among the rows that were found, by name, and what makes the rest consistent again.
 * Rows are written in pairs (a call and its input, a history row and its id, an output and its body,
 * a line that ended a call and its STDERR), so most of what is missing is named by its other half.
 * Where both are, the sums tell how many (survey.ts). What has lost its function or account is found
 * when memory is filled (losses.ts). Pure.
 */

import type { LogLine } from '../../protocol/log-line.ts'
import { logKey, type StoredLine } from '../log-key.ts'
import { blobKey } from './bodies.ts'
import type { BodyKind, SummedTable } from './tables.ts'

/** The keys that were found and could be read, and of some rows what they say. */
export interface Found {
  readonly keys: ReadonlyMap<SummedTable, ReadonlySet<string>>
  /** Keys of the bodies that are there, in a table or in a file that is there. */
  readonly inputs: ReadonlySet<string>
  readonly stdouts: ReadonlySet<string>
  readonly stderrs: ReadonlySet<string>
  /** Call id of each row of `call`. */
  readonly calls: ReadonlyMap<string, string>
  /** Call id of each row of `history`; the key of its history row of each row of `callid`. */
  readonly histories: ReadonlyMap<string, string>
  readonly callIds: ReadonlyMap<string, string>
  /** Keys of the STDERR bodies that a line of a log speaks of. */
  readonly stderrsOfLines: ReadonlySet<string>
  /** Lines that speak of a body that has to be there and is not, by the key of the body. */
  readonly linesWithoutBody: ReadonlyMap<string, FoundLine>
}

export interface FoundLine {
  readonly key: string
  readonly funcId: string
  readonly stored: StoredLine
  readonly line: LogLine
}

/** A row as it has to be: gone, or of a value. */
export interface Repair {
  readonly table: SummedTable
  readonly key: string
  readonly value?: unknown
}

/** Tells the operator, who accepted it, what is lost. */
export type TellLoss = (what: string) => void

export interface Damage {
  readonly what: string
  readonly repair: readonly Repair[]
}

const drop = (table: SummedTable, key: string): Repair[] => [{ table, key }]

const dropBody = (kind: BodyKind, key: string): Repair[] => [
  ...drop(kind, key),
  ...drop('blob', blobKey(kind, key)),
]

const dropOutput = (key: string): Repair[] => [
  ...drop('output', key),
  ...drop('fetched', key),
  ...dropBody('stdout', key),
]

const keysOf = (found: Found, table: SummedTable): ReadonlySet<string> =>
  found.keys.get(table) ?? new Set()

const findCallDamage = (found: Found): Damage[] => {
  const damages: Damage[] = []
  for (const [key, id] of found.calls) {
    if (found.inputs.has(key)) continue
    const repair = [...drop('call', key), ...dropBody('input', key)]
    damages.push({ what: `call ${id} has lost its input`, repair })
  }
  for (const key of found.inputs) {
    if (found.calls.has(key)) continue
    const what = `call number ${Number(key)} is lost, its input is left`
    damages.push({ what, repair: dropBody('input', key) })
  }
  return damages
}

const findHistoryDamage = (found: Found): Damage[] => {
  const damages: Damage[] = []
  for (const [id, key] of found.callIds) {
    if (found.histories.has(key)) continue
    const repair = [...drop('callid', id), ...drop('owed', id), ...dropOutput(key)]
    damages.push({ what: `the history of call ${id} is lost`, repair })
  }
  for (const [key, id] of found.histories) {
    if (found.callIds.get(id) === key) continue
    const [funcId = '', seq = ''] = key.split('/')
    const value = { funcId, seq: Number(seq) }
    const repair: Repair[] = [{ table: 'callid', key: id, value }]
    damages.push({ what: `call ${id} could not be found by its id; it can be again`, repair })
  }
  return damages
}

const findOutputDamage = (found: Found): Damage[] => {
  const damages: Damage[] = []
  const outputs = keysOf(found, 'output')
  for (const key of outputs) {
    if (found.stdouts.has(key)) continue
    const what = `the output of call ${found.histories.get(key) ?? key} is lost`
    damages.push({ what, repair: dropOutput(key) })
  }
  for (const key of found.stdouts) {
    if (outputs.has(key)) continue
    const what = `output ${key} has lost its row, its body is left`
    damages.push({ what, repair: dropOutput(key) })
  }
  return damages
}

/** Lines go from the oldest on only, so a gap between two is a loss. */
const findLogDamage = (found: Found): Damage[] => {
  const damages: Damage[] = []
  let [lastFunc, lastSeq] = ['', 0]
  for (const key of [...keysOf(found, 'log')].sort()) {
    const [funcId = '', seq = ''] = key.split('/')
    if (funcId === lastFunc && Number(seq) > lastSeq + 1) {
      const lines =
        Number(seq) === lastSeq + 2
          ? `line ${lastSeq + 1}`
          : `lines ${lastSeq + 1} to ${Number(seq) - 1}`
      damages.push({ what: `log ${lines} of function ${funcId} are lost`, repair: [] })
    }
    ;[lastFunc, lastSeq] = [funcId, Number(seq)]
  }
  return damages
}

/** Such a line is left without its end: what it shows must not be taken for all of the STDERR. */
const findStderrDamage = (found: Found): Damage[] => {
  const damages: Damage[] = []
  for (const [key, { key: lineKey, funcId, stored, line }] of found.linesWithoutBody) {
    const what = `the STDERR of call ${found.histories.get(key) ?? key} is lost`
    const endless: Repair = {
      ...{ table: 'log', key: logKey(funcId, { ...stored, end: null }), value: line },
    }
    damages.push({ what, repair: [...drop('log', lineKey), endless] })
  }
  for (const key of found.stderrs) {
    if (found.stderrsOfLines.has(key) && found.histories.has(key)) continue
    const what = `STDERR ${key} has lost its line or its call, its body is left`
    damages.push({ what, repair: dropBody('stderr', key) })
  }
  return damages
}

export const findDamage = (found: Found): Damage[] => [
  ...findCallDamage(found),
  ...findHistoryDamage(found),
  ...findOutputDamage(found),
  ...findLogDamage(found),
  ...findStderrDamage(found),
]
