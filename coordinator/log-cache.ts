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
import { createLineSizes } from './line-sizes.ts'
import { type LogEnd, logKey, type StoredLine } from './log-key.ts'
import { rowKey } from './rows.ts'
import { del, delBody, type Operation, put, putBody } from './store/store.ts'

/** A line without what the log gives it. */
export type LogEntry = Omit<LogLine, 'Seq' | 'Time'>

/** What a call left when it ended: its number, and all of its STDERR that was kept. */
export interface CallEnd {
  readonly seq: number
  readonly stderr: Uint8Array
}

/** What a line ended, and whether the STDERR beside it is there still. */
interface Ended extends LogEnd {
  hasBody: boolean
}

/** Where the STDERR of an ended call is: in its body, or whole in the line that ended it. */
export interface StderrPlace {
  readonly lineKey: string
  readonly hasBody: boolean
}

export interface LogCache {
  append(entry: LogEntry, wall: string, end?: CallEnd): { line: LogLine; operations: Operation[] }
  /** The call's history row goes. */
  forgetCall(seq: number): Operation[]
  /** Line by line; what goes together comes together. */
  removeAll(): Iterable<readonly Operation[]>
  /** A line that is there at start; `isKept`: whether a call has its history row. */
  restore(line: StoredLine, isKept: (seq: number) => boolean): void
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
const counted = (lineBytes: number): number => Math.max(lineBytes, limits.cacheEntryBytesMin)

const logEndOf = ({ seq, stderr }: CallEnd): LogEnd => ({
  seq,
  stderrBytes: isShownWhole(stderr) ? 0 : stderr.byteLength,
})

export const createLogCache = (funcId: string): LogCache => {
  const lines = createLineSizes()
  /** By the line's number. */
  const ends = new Map<number, Ended>()
  /** By the call's number: the line that ended it. */
  const lineOf = new Map<number, number>()
  let bytes = 0

  /** `isKept`: the call that it ended has its history row. */
  const enter = ({ seq, bytes: lineBytes, end }: StoredLine, isKept: boolean): void => {
    lines.append(seq, lineBytes)
    bytes += counted(lineBytes)
    if (end === null) return
    // A row that went before its line took the STDERR with it.
    const hasBody = isKept && end.stderrBytes > 0
    ends.set(seq, { ...end, hasBody })
    if (hasBody) bytes += end.stderrBytes
    if (isKept) lineOf.set(end.seq, seq)
  }

  const dropStderr = (end: Ended): Operation[] => {
    if (!end.hasBody) return []
    bytes -= end.stderrBytes
    end.hasBody = false
    return [delBody('stderr', rowKey(funcId, end.seq))]
  }

  const keyOf = (seq: number): string =>
    logKey(funcId, { seq, bytes: lines.bytesOf(seq), end: ends.get(seq) ?? null })

  const removeLine = (seq: number): Operation[] => {
    const line = del('log', keyOf(seq))
    bytes -= counted(lines.bytesOf(seq))
    const end = ends.get(seq)
    if (end === undefined) return [line]
    ends.delete(seq)
    lineOf.delete(end.seq)
    return [line, ...dropStderr(end)]
  }

  /** The oldest go. */
  const rotate = (): Operation[] => {
    const operations: Operation[] = []
    while (bytes > limits.cacheBytesMax && lines.first() <= lines.last()) {
      operations.push(...removeLine(lines.first()))
      lines.dropFirst()
    }
    return operations
  }

  return {
    append(entry, wall, end) {
      const line: LogLine = { Seq: lines.last() + 1, Time: wall, ...entry }
      const stored: StoredLine = {
        seq: line.Seq,
        bytes: Buffer.byteLength(JSON.stringify(line)),
        end: end === undefined ? null : logEndOf(end),
      }
      enter(stored, true)
      const operations = [put('log', logKey(funcId, stored), line)]
      if (end !== undefined && stored.end?.stderrBytes !== 0) {
        operations.push(putBody('stderr', rowKey(funcId, end.seq), end.stderr))
      }
      return { line, operations: [...operations, ...rotate()] }
    },
    forgetCall(seq) {
      const end = ends.get(lineOf.get(seq) ?? 0)
      lineOf.delete(seq)
      return end === undefined ? [] : dropStderr(end)
    },
    *removeAll() {
      for (; lines.first() <= lines.last(); lines.dropFirst()) yield removeLine(lines.first())
    },
    restore: (line, isKept) => enter(line, line.end !== null && isKept(line.end.seq)),
    stderrOf(seq) {
      const lineSeq = lineOf.get(seq)
      if (lineSeq === undefined) return null
      return { lineKey: keyOf(lineSeq), hasBody: ends.get(lineSeq)?.hasBody === true }
    },
    span: () => ({ first: lines.first(), last: lines.last() }),
    bytes: () => bytes,
  }
}
