/**
 * The key of a log line, which says all that the books need of it, for a start has a million of them
 * to read:
 *
 *   FUNC/LINE/BYTES              bytes of the row's JSON
 *   FUNC/LINE/BYTES/CALL/STDERR  the last line of a call: the call's number, and the bytes of the
 *                                `stderr` body written with it (0: the line shows all of it); that
 *                                body is there while the call has its history row
 *
 * A line is written once and never changed, so its table counts by keys alone (sums.ts). What rots in
 * a line is told by its own checksum when it is read.
 */

import { HyperError } from '../protocol/errors.ts'
import type { PageRange } from './drive.ts'
import { rowKey } from './rows.ts'

/** What a line ended. */
export interface LogEnd {
  readonly seq: number
  readonly stderrBytes: number
}

export interface StoredLine {
  readonly seq: number
  readonly bytes: number
  readonly end: LogEnd | null
}

export const logKey = (funcId: string, { seq, bytes, end }: StoredLine): string => {
  const key = `${rowKey(funcId, seq)}/${bytes}`
  return end === null ? key : `${key}/${end.seq}/${end.stderrBytes}`
}

/** Throws STATE_DAMAGED. */
export const parseLogKey = (key: string): { funcId: string; line: StoredLine } => {
  const [funcId = '', ...texts] = key.split('/')
  const [seq, bytes, call, stderrBytes] = texts.map(Number)
  const isWhole = texts.every((text) => /^\d{1,16}$/.test(text))
  if (!isWhole || seq === undefined || bytes === undefined || ![2, 4].includes(texts.length)) {
    throw new HyperError('STATE_DAMAGED', `the stored row log/${key} has a name that none has`)
  }
  const end = call === undefined || stderrBytes === undefined ? null : { seq: call, stderrBytes }
  return { funcId, line: { seq, bytes, end } }
}

/** The lines after one number and up to another. */
export const logRange = (funcId: string, after: number, upTo: number): PageRange => ({
  // Behind all that a key of that line can go on with.
  gt: `${rowKey(funcId, after)}/~`,
  lt: rowKey(funcId, upTo + 1),
})
