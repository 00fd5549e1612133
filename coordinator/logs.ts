/**
 * Reading the logs of functions: what is stored, and what comes. Lines are told here after their
 * commit. Pages are read with bounds of their own, never with an iterator held open across a slow
 * reader; a follower that falls too far behind is ended, and resumes with `since`.
 */

import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { type LogLine, LogLineSchema } from '../protocol/log-line.ts'
import { createParser } from '../protocol/schema.ts'
import type { LogQuery, Logs } from './ports.ts'
import { rowKey } from './rows.ts'
import type { Store } from './store.ts'

const parseLine = createParser(LogLineSchema, 'STATE_DAMAGED', 'stored log line')

const pageLines = 500

interface Follower {
  readonly lines: LogLine[]
  bytes: number
  wake: () => void
}

export interface LogBook extends Logs {
  /** A line was committed. */
  logged(funcId: string, line: LogLine): void
}

const lineBytes = (line: LogLine): number =>
  256 +
  line.ShortStdin.length +
  line.ShortStdout.length +
  line.ShortStderr.length +
  line.Message.length

export const createLogs = (store: Pick<Store, 'range'>): LogBook => {
  const followers = new Map<string, Set<Follower>>()

  const isWanted = (line: LogLine, query: LogQuery): boolean =>
    line.Seq > query.since && (query.callId === null || line.CallId === query.callId)

  async function* pages(funcId: string, since: number): AsyncGenerator<LogLine> {
    for (let after = since; ; ) {
      let count = 0
      const page: LogLine[] = []
      const range = { gt: rowKey(funcId, after), lt: `${funcId}/~`, limit: pageLines }
      for await (const [, value] of store.range('log', range)) page.push(parseLine(value))
      for (const line of page) {
        count += 1
        after = line.Seq
        yield line
      }
      if (count < pageLines) return
    }
  }

  /** Seq of the line before the last `tail` wanted ones. */
  const tailStart = async (funcId: string, query: LogQuery, tail: number): Promise<number> => {
    let left = tail
    const range = { gt: rowKey(funcId, query.since), lt: `${funcId}/~`, reverse: true }
    if (tail > 0) {
      for await (const [, value] of store.range('log', range)) {
        const line = parseLine(value)
        if (isWanted(line, query)) left -= 1
        if (left === 0) return line.Seq - 1
      }
      return query.since
    }
    for await (const [, value] of store.range('log', { ...range, limit: 1 })) {
      return parseLine(value).Seq
    }
    return query.since
  }

  async function* read(funcId: string, query: LogQuery): AsyncGenerator<LogLine> {
    const since = query.tail === null ? query.since : await tailStart(funcId, query, query.tail)
    for await (const line of pages(funcId, since)) if (isWanted(line, query)) yield line
  }

  const subscribe = (funcId: string): Follower => {
    const follower: Follower = { lines: [], bytes: 0, wake: () => undefined }
    const set = followers.get(funcId) ?? new Set()
    followers.set(funcId, set.add(follower))
    return follower
  }

  const unsubscribe = (funcId: string, follower: Follower): void => {
    const set = followers.get(funcId)
    set?.delete(follower)
    if (set?.size === 0) followers.delete(funcId)
  }

  async function* follow(funcId: string, query: LogQuery, signal: AbortSignal) {
    const follower = subscribe(funcId)
    const onAbort = (): void => follower.wake()
    signal.addEventListener('abort', onAbort)
    let last = query.since
    try {
      for await (const line of read(funcId, query)) {
        last = line.Seq
        yield line
      }
      while (!signal.aborted) {
        if (follower.bytes > limits.logFollowBytesMax) {
          throw new HyperError('TOO_MANY', `the reader fell behind; go on with since=${last}`)
        }
        const lines = follower.lines.splice(0)
        follower.bytes = 0
        for (const line of lines) {
          if (line.Seq <= last || !isWanted(line, query)) continue
          last = line.Seq
          yield line
        }
        if (follower.lines.length > 0 || signal.aborted) continue
        await new Promise<void>((resolve) => {
          follower.wake = resolve
        })
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      unsubscribe(funcId, follower)
    }
  }

  return {
    read,
    follow,
    logged(funcId, line) {
      for (const follower of followers.get(funcId) ?? []) {
        // What is over the bound is not kept; the reader is told when it comes for more.
        if (follower.bytes <= limits.logFollowBytesMax) follower.lines.push(line)
        follower.bytes += lineBytes(line)
        follower.wake()
      }
    },
  }
}
