/** The rows that the caches write, kept in memory as they are, and books made from them again. */

import assert from 'node:assert/strict'
import { type Caches, createCaches } from '../../coordinator/caches.ts'
import type { LogEntry } from '../../coordinator/log-cache.ts'
import { type LogEnd, logKey, parseLogKey } from '../../coordinator/log-key.ts'
import { type HistoryRow, parseOutputRow } from '../../coordinator/rows.ts'
import { type BodyKind, type Operation, put, type Sublevel } from '../../coordinator/store/store.ts'

export const wall = '2017-03-16T07:05:24.473Z'

/** Rows as they would be on disk; values as they are, for bodies are large and shared. */
export const createRows = () => {
  const rows = new Map<string, unknown>()
  return {
    rows,
    write(operations: readonly Operation[]): void {
      for (const operation of operations) {
        const { type } = operation
        const isBody = type === 'put-body' || type === 'del-body'
        const key = `${isBody ? operation.kind : operation.sublevel} ${operation.key}`
        if (type === 'put') rows.set(key, operation.value)
        else if (type === 'put-body') rows.set(key, operation.bytes)
        else rows.delete(key)
      }
    },
    of: (sublevel: Sublevel | BodyKind, funcId = ''): [string, unknown][] =>
      [...rows]
        .filter(([key]) => key.startsWith(`${sublevel} ${funcId}`))
        .map(([key, value]) => [key.slice(sublevel.length + 1), value]),
  }
}
export type Rows = ReturnType<typeof createRows>

export const rowOf = (funcId: string, seq: number, isFinished = true): HistoryRow => ({
  ...{ id: `call-${seq}`, seq, funcId, accountId: 'a1', accepted: wall, ended: wall, attempt: 1 },
  outcome: {
    ...{ exitCode: 0, message: '' },
    ...(isFinished
      ? { state: 'finished', code: 'FINISHED' }
      : { state: 'failed', code: 'CALL_EXITED' }),
  },
})

/** The row of a line, as a function's log writes it. */
export const putLine = (
  funcId: string,
  seq: number,
  message: string,
  end: LogEnd | null = null,
) => {
  const line = { Seq: seq, Time: wall, ...lineOf(message) }
  return put('log', logKey(funcId, { seq, bytes: jsonBytes(line), end }), line)
}

export const lineOf = (Message: string): LogEntry => ({
  Event: 'CALL',
  CallId: 'c',
  ShortStdin: '',
  ShortStdout: '',
  ShortStderr: '',
  Message,
})

const jsonBytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value))

export const restore = (disk: Rows, nowMs: number): Caches => {
  const caches = createCaches()
  const sorted = (sublevel: Sublevel) => disk.of(sublevel).sort(([a], [b]) => (a < b ? -1 : 1))
  for (const [, value] of sorted('history')) caches.restoreHistory(value as HistoryRow)
  for (const [key, value] of sorted('output')) {
    const [funcId = '', seq] = key.split('/')
    const isKnown = caches.restoreOutput(funcId, Number(seq), parseOutputRow(value))
    assert.ok(isKnown, 'an output has its history row')
  }
  for (const [key, value] of sorted('log')) {
    const { funcId, line } = parseLogKey(key)
    assert.equal(line.bytes, jsonBytes(value))
    caches.restoreLog(funcId, line)
  }
  const keysOf = (sublevel: Sublevel): Set<string> => new Set(disk.of(sublevel).map(([key]) => key))
  caches.finishRestore(keysOf('owed'), keysOf('fetched'), nowMs)
  return caches
}
