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
import { rowKey } from './rows.ts'
import type { PageRange } from './store/drive.ts'

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

const SLASH = 47
const ZERO = 48

/** The numbers from `at` on, with slashes between; none where there is anything else. One pass. */
const numbersIn = (text: string, at: number): readonly number[] => {
  const numbers: number[] = []
  let number = 0
  let digits = 0
  for (let place = at; place <= text.length; place += 1) {
    const code = place === text.length ? SLASH : text.charCodeAt(place)
    if (code === SLASH) {
      if (digits === 0 || !Number.isSafeInteger(number)) return []
      numbers.push(number)
      number = 0
      digits = 0
      continue
    }
    if (code < ZERO || code > ZERO + 9) return []
    number = 10 * number + code - ZERO
    digits += 1
  }
  return numbers
}

/** Throws STATE_DAMAGED. */
export const parseLogKey = (key: string): { funcId: string; line: StoredLine } => {
  const slash = key.indexOf('/')
  const numbers = slash < 0 ? [] : numbersIn(key, slash + 1)
  const [seq, bytes, call, stderrBytes] = numbers
  if (seq === undefined || bytes === undefined || (numbers.length !== 2 && numbers.length !== 4)) {
    throw new HyperError('STATE_DAMAGED', `log/${key} is not the key of a log line`)
  }
  const end = call === undefined || stderrBytes === undefined ? null : { seq: call, stderrBytes }
  return { funcId: key.slice(0, slash), line: { seq, bytes, end } }
}

/** The lines after one number and up to another. */
export const logRange = (funcId: string, after: number, upTo: number): PageRange => ({
  // Behind all that a key of that line can go on with.
  gt: `${rowKey(funcId, after)}/~`,
  lt: rowKey(funcId, upTo + 1),
})
