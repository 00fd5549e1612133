/**
 * The caches of each function: 50 MB of outputs (output-cache.ts), 50 MB of log lines with the
 * STDERR beside them (log-cache.ts), and the history of its calls.
 *
 * Memory holds the books (what is there, how large, in which order); the rows are on disk. Every
 * change returns the operations that make the disk follow, for the same batch as its cause, so the
 * counts are those of the entries at every commit. Oldest out first; an entry counts at least 1 KB.
 *
 * A body is `cached` while its `output` row stands. Delivered once, it stays for the grace and then
 * goes. A history row stays 24 h after its body went, at most 10,000 of them, never before it.
 */

import { assert } from '../protocol/assert.ts'
import { limits } from '../protocol/limits.ts'
import type { LogLine } from '../protocol/log-line.ts'
import {
  type CallEnd,
  createLogCache,
  type LogCache,
  type LogEntry,
  type StderrPlace,
} from './log-cache.ts'
import type { StoredLine } from './log-key.ts'
import { createOutputCache, type OutputCache } from './output-cache.ts'
import { type HistoryRow, type OutputRow, rowKey } from './rows.ts'
import { del, type Operation, put } from './store/store.ts'

interface FuncCache {
  readonly rows: Map<number, { readonly id: string; readonly isFinished: boolean }>
  /** Rows without a body: since when. Oldest first. */
  readonly gone: Map<number, number>
  readonly outputs: OutputCache
  readonly log: LogCache
  finished: number
}

export interface Caches {
  /** `end` where the line is the last of its call, whose history row is there already. */
  appendLog(
    funcId: string,
    wall: string,
    entry: LogEntry,
    end?: CallEnd,
  ): { line: LogLine; operations: Operation[] }
  /** A call ended. Without a body now (it is owed to a client), `keepOutput` or `dropOutput` follows. */
  addHistory(row: HistoryRow, body: Uint8Array | null, nowMs: number): Operation[]
  keepOutput(row: HistoryRow, body: Uint8Array, nowMs: number): Operation[]
  dropOutput(row: HistoryRow, nowMs: number): Operation[]
  /** A body was delivered whole: its grace begins. Again, or without a body: nothing. */
  markDelivered(funcId: string, seq: number, nowMs: number): Operation[]
  hasOutput(funcId: string, seq: number): boolean
  /** Of a call that ended; null where it has rotated out. */
  stderrOf(funcId: string, seq: number): StderrPlace | null
  /** Which lines of a log there are; `last` is below `first` where there is none. */
  logSpan(funcId: string): { readonly first: number; readonly last: number }
  /** What time has ended. Called with every tick. */
  expire(nowMs: number): Operation[]
  /** In parts, each to be committed before the next is asked for: a crash between them is no loss. */
  removeFunc(funcId: string): Iterable<readonly Operation[]>
  counts(funcId: string): { readonly finished: number; readonly failed: number }
  /** The books of a stored row, at start: history before the rest. */
  restoreHistory(row: HistoryRow): void
  /** False, and nothing done, where the row belongs to no history. */
  restoreOutput(funcId: string, seq: number, row: OutputRow): boolean
  /** The row of a body was restored. */
  hasRestored(funcId: string, seq: number): boolean
  restoreLog(funcId: string, line: StoredLine): void
  /** After all rows: what has no body and is not owed is gone; what was delivered has its grace. */
  finishRestore(owed: ReadonlySet<string>, fetched: ReadonlySet<string>, nowMs: number): void
  /** The greatest number of a call that has a history row; 0 for none. */
  lastSeq(): number
  /** Bytes by the books, for tests of the invariant. */
  bytes(funcId: string): { readonly outputs: number; readonly logs: number }
}

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
      gone: new Map(),
      outputs: createOutputCache(funcId),
      log: createLogCache(funcId),
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
    const key = rowKey(funcId, seq)
    return [del('history', key), del('callid', entry.id), ...cache.log.forgetCall(seq)]
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

  /** The body has left the cache: its row's time begins, and a grace is over. */
  const markGone = (
    cache: FuncCache,
    funcId: string,
    seq: number,
    nowMs: number,
  ): readonly Operation[] => {
    cache.gone.set(seq, nowMs)
    const key = rowKey(funcId, seq)
    return graces.delete(key) ? [del('fetched', key)] : []
  }

  const addOutput = (row: HistoryRow, body: Uint8Array, nowMs: number): Operation[] => {
    const { funcId, seq } = row
    const cache = funcs.get(funcId)
    // The function was removed meanwhile, or the body is there already.
    if (cache === undefined || !cache.rows.has(seq) || cache.outputs.has(seq)) return []
    const { operations, rotated } = cache.outputs.add(seq, body)
    for (const old of rotated) operations.push(...markGone(cache, funcId, old, nowMs))
    return operations
  }

  const enterHistory = (row: HistoryRow): FuncCache => {
    const cache = cacheOf(row.funcId)
    const isFinished = row.outcome.state === 'finished'
    cache.rows.set(row.seq, { id: row.id, isFinished })
    if (isFinished) cache.finished += 1
    return cache
  }

  /** What belongs together is one group. A history row goes after all that rests on it. */
  function* removalOf(funcId: string, cache: FuncCache): Generator<readonly Operation[]> {
    yield* cache.log.removeAll()
    for (const seq of cache.outputs.seqs()) {
      const key = rowKey(funcId, seq)
      const grace = graces.delete(key) ? [del('fetched', key)] : []
      yield [...grace, ...cache.outputs.remove(seq)]
    }
    for (const [seq, { id }] of cache.rows) {
      yield [del('history', rowKey(funcId, seq)), del('callid', id), del('owed', id)]
    }
  }

  return {
    appendLog: (funcId, wall, entry, end) => cacheOf(funcId).log.append(entry, wall, end),
    addHistory(row, body, nowMs) {
      const rowBytes = Buffer.byteLength(JSON.stringify(row))
      assert(rowBytes <= limits.historyRowBytesMax, 'a history row is small')
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
      const cache = funcs.get(row.funcId)
      if (cache?.rows.has(row.seq) === true) cache.gone.set(row.seq, nowMs)
      return [del('owed', row.id)]
    },
    markDelivered(funcId, seq, nowMs) {
      const key = rowKey(funcId, seq)
      if (graces.has(key) || funcs.get(funcId)?.outputs.has(seq) !== true) return []
      graces.set(key, { funcId, seq, untilMs: nowMs + limits.deliveredGraceMs })
      return [put('fetched', key, true)]
    },
    hasOutput: (funcId, seq) => funcs.get(funcId)?.outputs.has(seq) === true,
    stderrOf: (funcId, seq) => funcs.get(funcId)?.log.stderrOf(seq) ?? null,
    logSpan: (funcId) => funcs.get(funcId)?.log.span() ?? { first: 1, last: 0 },
    expire(nowMs) {
      const operations: Operation[] = []
      for (const { funcId, seq, untilMs } of graces.values()) {
        if (untilMs > nowMs) break
        const cache = funcs.get(funcId)
        if (cache !== undefined) {
          operations.push(...cache.outputs.remove(seq), ...markGone(cache, funcId, seq, nowMs))
          continue
        }
        // Its function is being removed, and takes the body with it.
        const key = rowKey(funcId, seq)
        graces.delete(key)
        operations.push(del('fetched', key))
      }
      if (nowMs - sweptMs < limits.historySweepMs) return operations
      sweptMs = nowMs
      for (const [funcId, cache] of funcs) operations.push(...trimHistory(cache, funcId, nowMs))
      return operations
    },
    *removeFunc(funcId) {
      const cache = funcs.get(funcId)
      if (cache === undefined) return
      funcs.delete(funcId)
      let part: Operation[] = []
      let groups = 0
      for (const group of removalOf(funcId, cache)) {
        part.push(...group)
        groups += 1
        if (groups % limits.removedPerStepMax !== 0) continue
        yield part
        part = []
      }
      yield part
    },
    counts(funcId) {
      const cache = funcs.get(funcId)
      const finished = cache?.finished ?? 0
      return { finished, failed: (cache?.rows.size ?? 0) - finished }
    },
    restoreHistory: (row) => void enterHistory(row),
    restoreOutput(funcId, seq, row) {
      const cache = funcs.get(funcId)
      if (cache?.rows.has(seq) !== true) return false
      cache.outputs.restore(seq, row)
      return true
    },
    hasRestored: (funcId, seq) => funcs.get(funcId)?.outputs.hasRestored(seq) === true,
    restoreLog(funcId, line) {
      const cache = cacheOf(funcId)
      cache.log.restore(line, (seq) => cache.rows.has(seq))
    },
    finishRestore(owed, fetched, nowMs) {
      for (const [funcId, cache] of funcs) {
        cache.outputs.finishRestore()
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
    lastSeq() {
      let last = 0
      for (const { rows } of funcs.values())
        for (const seq of rows.keys()) last = Math.max(last, seq)
      return last
    },
    bytes(funcId) {
      const cache = funcs.get(funcId)
      return { outputs: cache?.outputs.bytes() ?? 0, logs: cache?.log.bytes() ?? 0 }
    },
  }
}
