/**
 * What is wrong with the rows that were found, in words an operator can act on, and what makes the
 * rest consistent again. Rows refer to each other, so most of what is missing is named by what still
 * speaks of it: an input without its call, a history row whose id leads nowhere. What nothing speaks
 * of is told as a count by the sums (salvage.ts). Pure.
 */

import { blobKey } from './bodies.ts'
import type { SummedTable } from './tables.ts'

/** The keys that were found and could be read, and of some rows what they say. */
export interface Found {
  readonly keys: ReadonlyMap<SummedTable, ReadonlySet<string>>
  /** Keys of the bodies that are there, in a table or in a file that is there. */
  readonly inputs: ReadonlySet<string>
  readonly stdouts: ReadonlySet<string>
  /** Call id and function of each row of `call`. */
  readonly calls: ReadonlyMap<string, { readonly id: string; readonly funcKey: string }>
  /** Call id of each row of `history`; the key of its history row of each row of `callid`. */
  readonly histories: ReadonlyMap<string, string>
  readonly callIds: ReadonlyMap<string, string>
  /** Of `meta/seq`; undefined where it is missing. */
  readonly nextSeq: number | undefined
}

/** A row as it has to be: gone, or of a value. */
export interface Repair {
  readonly table: SummedTable
  readonly key: string
  readonly value?: unknown
}

export interface Loss {
  readonly what: string
  readonly repair: readonly Repair[]
}

const drop = (table: SummedTable, key: string): Repair[] => [{ table, key }]

const dropBody = (kind: 'input' | 'stdout', key: string): Repair[] => [
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

const findCallLosses = (found: Found): Loss[] => {
  const losses: Loss[] = []
  for (const [key, { id, funcKey }] of found.calls) {
    const repair = [...drop('call', key), ...dropBody('input', key)]
    if (!found.inputs.has(key)) losses.push({ what: `call ${id} has lost its input`, repair })
    else if (!keysOf(found, 'func').has(funcKey)) {
      losses.push({ what: `call ${id} has lost its function`, repair })
    }
  }
  for (const key of found.inputs) {
    if (found.calls.has(key)) continue
    const what = `call number ${Number(key)} is lost, its input is left`
    losses.push({ what, repair: dropBody('input', key) })
  }
  return losses
}

const findHistoryLosses = (found: Found): Loss[] => {
  const losses: Loss[] = []
  for (const [id, key] of found.callIds) {
    if (found.histories.has(key)) continue
    const repair = [...drop('callid', id), ...drop('owed', id), ...dropOutput(key)]
    losses.push({ what: `the history of call ${id} is lost`, repair })
  }
  for (const [key, id] of found.histories) {
    if (found.callIds.get(id) === key) continue
    const [funcId = '', seq = ''] = key.split('/')
    const value = { funcId, seq: Number(seq) }
    const repair: Repair[] = [{ table: 'callid', key: id, value }]
    losses.push({ what: `call ${id} could not be found by its id; it can be again`, repair })
  }
  for (const id of keysOf(found, 'owed')) {
    if (found.callIds.has(id)) continue
    losses.push({ what: `call ${id}, owed to its client, is lost`, repair: drop('owed', id) })
  }
  return losses
}

const findOutputLosses = (found: Found): Loss[] => {
  const losses: Loss[] = []
  const outputs = keysOf(found, 'output')
  for (const key of outputs) {
    const id = found.histories.get(key)
    const of = id === undefined ? `output ${key}` : `the output of call ${id}`
    if (id === undefined)
      losses.push({ what: `${of} has lost its history`, repair: dropOutput(key) })
    else if (!found.stdouts.has(key))
      losses.push({ what: `${of} is lost`, repair: dropOutput(key) })
  }
  for (const key of found.stdouts) {
    if (outputs.has(key)) continue
    const what = `output ${key} has lost its row, its body is left`
    losses.push({ what, repair: dropOutput(key) })
  }
  for (const key of keysOf(found, 'fetched')) {
    if (outputs.has(key)) continue
    losses.push({ what: `output ${key}, delivered once, is lost`, repair: drop('fetched', key) })
  }
  return losses
}

/** Lines go from the oldest on only, so a gap between two is a loss. */
const findLogLosses = (found: Found): Loss[] => {
  const losses: Loss[] = []
  let [lastFunc, lastSeq] = ['', 0]
  for (const key of [...keysOf(found, 'log')].sort()) {
    const [funcId = '', seq = ''] = key.split('/')
    if (funcId === lastFunc && Number(seq) > lastSeq + 1) {
      const lines =
        Number(seq) === lastSeq + 2
          ? `line ${lastSeq + 1}`
          : `lines ${lastSeq + 1} to ${Number(seq) - 1}`
      losses.push({ what: `log ${lines} of function ${funcId} are lost`, repair: [] })
    }
    ;[lastFunc, lastSeq] = [funcId, Number(seq)]
  }
  return losses
}

/** A number given twice would make two calls one. */
const findNumberLosses = (found: Found): Loss[] => {
  const seqs = [
    ...found.calls.keys(),
    ...found.inputs,
    ...[...found.histories.keys()].map((key) => key.split('/')[1] ?? ''),
  ]
  const least = seqs.reduce((seq, key) => Math.max(seq, Number(key) + 1), 1)
  const { nextSeq } = found
  if (nextSeq === undefined ? seqs.length === 0 : nextSeq >= least) return []
  const value = Math.max(least, nextSeq ?? 1)
  const repair: Repair[] = [{ table: 'meta', key: 'seq', value }]
  return [{ what: `the number of the next call is lost; at least ${least}`, repair }]
}

export const findLosses = (found: Found): Loss[] => [
  ...findCallLosses(found),
  ...findHistoryLosses(found),
  ...findOutputLosses(found),
  ...findLogLosses(found),
  ...findNumberLosses(found),
]
