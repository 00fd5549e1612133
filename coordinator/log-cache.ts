/**
 * The log of one function, by the books: which lines are there, how large, and which of them ended a
 * call. STDERR that the last line of a call cannot show whole is kept beside that line as a body and
 * counts with it; the line has its size on disk, so nothing but lines is read at start.
 *
 * Numbers are dense: what is there is `first` to `last`, and only the oldest goes. A STDERR goes
 * with its line or with the call's history row, whichever goes first.
 */

import { limits } from '../protocol/limits.ts'
import { type LogLine, shortText } from '../protocol/log-line.ts'
import { type LogRow, rowKey } from './rows.ts'
import { del, delBody, type Operation, put, putBody } from './store.ts'

/** A line without what the log gives it. */
export type LogEntry = Omit<LogLine, 'Seq' | 'Time'>

/** What a call left when it ended: its number, and all of its STDERR that was kept. */
export interface CallEnd {
  readonly seq: number
  readonly stderr: Uint8Array
}

interface Line {
  readonly bytes: number
  /** The call that it ended, and the bytes of STDERR beside it. */
  readonly end: { readonly seq: number; stderrBytes: number } | null
}

/** Where the STDERR of an ended call is: in its body, or whole in the line that ended it. */
export interface StderrPlace {
  readonly lineSeq: number
  readonly hasBody: boolean
}

export interface LogCache {
  append(entry: LogEntry, wall: string, end?: CallEnd): { line: LogLine; operations: Operation[] }
  /** The call's history row goes. */
  forgetCall(seq: number): Operation[]
  removeAll(): Operation[]
  /** The row of a line and its bytes, at start; `isKept`: whether a call has its history row. */
  restore(row: LogRow, rowBytes: number, isKept: (seq: number) => boolean): void
  /** Null where the line that ended the call has rotated out. */
  stderrOf(seq: number): StderrPlace | null
  /** Numbers of the oldest and the newest line; `last` is below `first` where there is none. */
  span(): { readonly first: number; readonly last: number }
  bytes(): number
}

const encoder = new TextEncoder()

/** The short form shows a STDERR whole: the same bytes come out of it again. */
const isShownWhole = (stderr: Uint8Array): boolean =>
  stderr.byteLength <= limits.shortBytesMax &&
  Buffer.compare(encoder.encode(shortText(stderr)), stderr) === 0

/** What a line counts: its row, as JSON. */
const counted = (rowBytes: number): number => Math.max(rowBytes, limits.cacheEntryBytesMin)
const bytesOf = (row: LogRow): number => counted(Buffer.byteLength(JSON.stringify(row)))

export const createLogCache = (funcId: string): LogCache => {
  const lines = new Map<number, Line>()
  /** By the call's number: the line that ended it. */
  const ends = new Map<number, number>()
  let bytes = 0
  let last = 0

  const enter = (seq: number, lineBytes: number, end: Line['end']): void => {
    lines.set(seq, { bytes: lineBytes, end })
    if (end !== null) ends.set(end.seq, seq)
    bytes += lineBytes + (end?.stderrBytes ?? 0)
    last = seq
  }

  const dropStderr = (end: NonNullable<Line['end']>): Operation[] => {
    if (end.stderrBytes === 0) return []
    bytes -= end.stderrBytes
    end.stderrBytes = 0
    return [delBody('stderr', rowKey(funcId, end.seq))]
  }

  const removeLine = (seq: number, { bytes: size, end }: Line): Operation[] => {
    lines.delete(seq)
    bytes -= size
    if (end === null) return [del('log', rowKey(funcId, seq))]
    ends.delete(end.seq)
    return [del('log', rowKey(funcId, seq)), ...dropStderr(end)]
  }

  const rotate = (): Operation[] => {
    const operations: Operation[] = []
    for (const [seq, line] of lines) {
      if (bytes <= limits.cacheBytesMax) break
      operations.push(...removeLine(seq, line))
    }
    return operations
  }

  return {
    append(entry, wall, end) {
      const line: LogLine = { Seq: last + 1, Time: wall, ...entry }
      if (end === undefined) {
        enter(line.Seq, bytesOf(line), null)
        return { line, operations: [put('log', rowKey(funcId, line.Seq), line), ...rotate()] }
      }
      const { seq, stderr } = end
      const stderrBytes = isShownWhole(stderr) ? 0 : stderr.byteLength
      const row: LogRow = { ...line, end: { seq, stderrBytes } }
      enter(line.Seq, bytesOf(row), { seq, stderrBytes })
      const operations = [put('log', rowKey(funcId, line.Seq), row)]
      if (stderrBytes > 0) operations.push(putBody('stderr', rowKey(funcId, seq), stderr))
      return { line, operations: [...operations, ...rotate()] }
    },
    forgetCall(seq) {
      const line = lines.get(ends.get(seq) ?? 0)
      ends.delete(seq)
      return line === undefined || line.end === null ? [] : dropStderr(line.end)
    },
    removeAll: () => [...lines].flatMap(([seq, line]) => removeLine(seq, line)),
    restore({ Seq, end }, rowBytes, isKept) {
      // A row that went before its line took the STDERR with it.
      enter(Seq, counted(rowBytes), end === undefined || !isKept(end.seq) ? null : { ...end })
    },
    stderrOf(seq) {
      const lineSeq = ends.get(seq)
      if (lineSeq === undefined) return null
      return { lineSeq, hasBody: (lines.get(lineSeq)?.end?.stderrBytes ?? 0) > 0 }
    },
    span: () => ({ first: lines.keys().next().value ?? last + 1, last }),
    bytes: () => bytes,
  }
}
