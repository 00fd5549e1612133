/**
 * The caches of each function: 50 MB of outputs, 50 MB of log lines, and the history of its calls.
 *
 * Memory holds the books (what is there, how large, in which order); the rows are on disk. Every
 * change returns the operations that make the disk follow, for the same batch as its cause, so the
 * counts are those of the entries at every commit. Oldest out first; an entry counts at least 1 KB.
 *
 * A body is `cached` while its `output` row stands. Delivered once, it stays for the grace and then
 * goes. A history row stays 24 h after its body went, at most 10,000 of them, never before it.
 */

import { limits } from '../protocol/limits.ts'
import type { LogLine } from '../protocol/log-line.ts'
import { type HistoryRow, type OutputRow, rowKey } from './rows.ts'
import { del, delBody, type Operation, put, putBody } from './store.ts'

interface HistoryEntry {
  readonly id: string
  readonly isFinished: boolean
}

interface FuncCache {
  readonly rows: Map<number, HistoryEntry>
  /** Counted bytes of each body, oldest first. */
  readonly outputs: Map<number, number>
  outputBytes: number
  /** Rows without a body: since when. Oldest first. */
  readonly gone: Map<number, number>
  /** Counted bytes of each log line, oldest first. */
  readonly logs: Map<number, number>
  logBytes: number
  nextLogSeq: number
  finished: number
}

export interface Caches {
  appendLog(
    funcId: string,
    wall: string,
    line: Omit<LogLine, 'Seq' | 'Time'>,
  ): { line: LogLine; operations: Operation[] }
  /** A call ended. Without a body now (it is owed to a client), `keepOutput` or `dropOutput` follows. */
  addHistory(row: HistoryRow, body: Uint8Array | null, nowMs: number): Operation[]
  keepOutput(row: HistoryRow, body: Uint8Array, nowMs: number): Operation[]
  dropOutput(row: HistoryRow, nowMs: number): Operation[]
  /** A body was delivered whole: its grace begins. Again, or without a body: nothing. */
  markDelivered(funcId: string, seq: number, nowMs: number): Operation[]
  hasOutput(funcId: string, seq: number): boolean
  /** What time has ended. Called with every tick. */
  expire(nowMs: number): Operation[]
  removeFunc(funcId: string): Operation[]
  counts(funcId: string): { readonly finished: number; readonly failed: number }
  /** The books of a stored row, at start. */
  restoreHistory(row: HistoryRow): void
  restoreOutput(funcId: string, seq: number, bytes: number): void
  restoreLog(funcId: string, line: LogLine): void
  /** After all rows: what has no body and is not owed is gone; what was delivered has its grace. */
  finishRestore(owed: ReadonlySet<string>, fetched: ReadonlySet<string>, nowMs: number): void
  /** Bytes by the books, for tests of the invariant. */
  bytes(funcId: string): { readonly outputs: number; readonly logs: number }
}

const counted = (bytes: number): number => Math.max(bytes, limits.cacheEntryBytesMin)
const lineBytes = (line: LogLine): number => counted(Buffer.byteLength(JSON.stringify(line)))

const firstKey = (map: ReadonlyMap<number, number>): number | undefined => map.keys().next().value

export const createCaches = (): Caches => {
  const funcs = new Map<string, FuncCache>()
  /** Delivered bodies in the order in which their grace ends. */
  const graces = new Map<string, { funcId: string; seq: number; untilMs: number }>()
  let sweptMs = 0

  const cacheOf = (funcId: string): FuncCache => {
    const known = funcs.get(funcId)
    if (known !== undefined) return known
    const cache: FuncCache = {
      rows: new Map(),
      outputs: new Map(),
      outputBytes: 0,
      gone: new Map(),
      logs: new Map(),
      logBytes: 0,
      nextLogSeq: 1,
      finished: 0,
    }
    funcs.set(funcId, cache)
    return cache
  }

  const removeRow = (cache: FuncCache, funcId: string, seq: number): Operation[] => {
    const entry = cache.rows.get(seq)
    cache.rows.delete(seq)
    cache.gone.delete(seq)
    if (entry === undefined) return []
    if (entry.isFinished) cache.finished -= 1
    return [del('history', rowKey(funcId, seq)), del('callid', entry.id)]
  }

  const trimHistory = (cache: FuncCache, funcId: string, nowMs: number): Operation[] => {
    const operations: Operation[] = []
    for (const [seq, goneMs] of cache.gone) {
      const isOld = nowMs - goneMs >= limits.historyMs
      if (!isOld && cache.gone.size <= limits.historyRowsMax) break
      operations.push(...removeRow(cache, funcId, seq))
    }
    return operations
  }

  const removeOutput = (
    cache: FuncCache,
    funcId: string,
    seq: number,
    nowMs: number,
  ): Operation[] => {
    const bytes = cache.outputs.get(seq)
    if (bytes === undefined) return []
    cache.outputs.delete(seq)
    cache.outputBytes -= bytes
    cache.gone.set(seq, nowMs)
    const key = rowKey(funcId, seq)
    const wasDelivered = graces.delete(key)
    return [
      del('output', key),
      delBody('stdout', key),
      ...(wasDelivered ? [del('fetched', key)] : []),
    ]
  }

  const addOutput = (row: HistoryRow, body: Uint8Array, nowMs: number): Operation[] => {
    const cache = cacheOf(row.funcId)
    if (!cache.rows.has(row.seq) || cache.outputs.has(row.seq)) return []
    const bytes = counted(body.byteLength)
    const key = rowKey(row.funcId, row.seq)
    const operations: Operation[] = [
      put('output', key, { bytes: body.byteLength } satisfies OutputRow),
      putBody('stdout', key, body),
    ]
    while (cache.outputBytes + bytes > limits.cacheBytesMax) {
      const oldest = firstKey(cache.outputs)
      if (oldest === undefined) break
      operations.push(...removeOutput(cache, row.funcId, oldest, nowMs))
    }
    cache.outputs.set(row.seq, bytes)
    cache.outputBytes += bytes
    return operations
  }

  const enterHistory = (row: HistoryRow): FuncCache => {
    const cache = cacheOf(row.funcId)
    const isFinished = row.outcome.state === 'finished'
    cache.rows.set(row.seq, { id: row.id, isFinished })
    if (isFinished) cache.finished += 1
    return cache
  }

  const enterLog = (funcId: string, line: LogLine): FuncCache => {
    const cache = cacheOf(funcId)
    const bytes = lineBytes(line)
    cache.logs.set(line.Seq, bytes)
    cache.logBytes += bytes
    cache.nextLogSeq = line.Seq + 1
    return cache
  }

  return {
    appendLog(funcId, wall, fields) {
      const line: LogLine = { Seq: cacheOf(funcId).nextLogSeq, Time: wall, ...fields }
      const cache = enterLog(funcId, line)
      const operations: Operation[] = [put('log', rowKey(funcId, line.Seq), line)]
      while (cache.logBytes > limits.cacheBytesMax) {
        const oldest = firstKey(cache.logs)
        if (oldest === undefined) break
        cache.logBytes -= cache.logs.get(oldest) ?? 0
        cache.logs.delete(oldest)
        operations.push(del('log', rowKey(funcId, oldest)))
      }
      return { line, operations }
    },
    addHistory(row, body, nowMs) {
      const cache = enterHistory(row)
      return [
        put('history', rowKey(row.funcId, row.seq), row),
        put('callid', row.id, { funcId: row.funcId, seq: row.seq }),
        ...(body === null ? [] : addOutput(row, body, nowMs)),
        ...trimHistory(cache, row.funcId, nowMs),
      ]
    },
    keepOutput: (row, body, nowMs) => [del('owed', row.id), ...addOutput(row, body, nowMs)],
    dropOutput(row, nowMs) {
      const cache = cacheOf(row.funcId)
      if (cache.rows.has(row.seq)) cache.gone.set(row.seq, nowMs)
      return [del('owed', row.id)]
    },
    markDelivered(funcId, seq, nowMs) {
      const key = rowKey(funcId, seq)
      if (graces.has(key) || funcs.get(funcId)?.outputs.has(seq) !== true) return []
      graces.set(key, { funcId, seq, untilMs: nowMs + limits.deliveredGraceMs })
      return [put('fetched', key, true)]
    },
    hasOutput: (funcId, seq) => funcs.get(funcId)?.outputs.has(seq) === true,
    expire(nowMs) {
      const operations: Operation[] = []
      for (const { funcId, seq, untilMs } of graces.values()) {
        if (untilMs > nowMs) break
        operations.push(...removeOutput(cacheOf(funcId), funcId, seq, nowMs))
      }
      if (nowMs - sweptMs < limits.historySweepMs) return operations
      sweptMs = nowMs
      for (const [funcId, cache] of funcs) operations.push(...trimHistory(cache, funcId, nowMs))
      return operations
    },
    removeFunc(funcId) {
      const cache = funcs.get(funcId)
      if (cache === undefined) return []
      funcs.delete(funcId)
      const operations: Operation[] = []
      for (const seq of cache.logs.keys()) operations.push(del('log', rowKey(funcId, seq)))
      for (const [seq, { id }] of cache.rows) {
        const key = rowKey(funcId, seq)
        operations.push(del('history', key), del('callid', id), del('owed', id))
        if (cache.outputs.has(seq)) operations.push(del('output', key), delBody('stdout', key))
        if (graces.delete(key)) operations.push(del('fetched', key))
      }
      return operations
    },
    counts(funcId) {
      const cache = funcs.get(funcId)
      const finished = cache?.finished ?? 0
      return { finished, failed: (cache?.rows.size ?? 0) - finished }
    },
    restoreHistory: (row) => void enterHistory(row),
    restoreOutput(funcId, seq, bytes) {
      const cache = cacheOf(funcId)
      cache.outputs.set(seq, counted(bytes))
      cache.outputBytes += counted(bytes)
    },
    restoreLog: (funcId, line) => void enterLog(funcId, line),
    finishRestore(owed, fetched, nowMs) {
      for (const [funcId, cache] of funcs) {
        for (const [seq, { id }] of cache.rows) {
          const key = rowKey(funcId, seq)
          if (!cache.outputs.has(seq)) {
            if (!owed.has(id)) cache.gone.set(seq, nowMs)
          } else if (fetched.has(key)) {
            graces.set(key, { funcId, seq, untilMs: nowMs + limits.deliveredGraceMs })
          }
        }
      }
    },
    bytes(funcId) {
      const cache = funcs.get(funcId)
      return { outputs: cache?.outputBytes ?? 0, logs: cache?.logBytes ?? 0 }
    },
  }
}
