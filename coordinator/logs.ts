/**
 * Reading the logs of functions: what is stored, and what comes. Lines are told here after their
 * commit. Pages are read with bounds of their own, never with an iterator held open across a slow
 * reader; a follower that falls too far behind is ended, and resumes with `since`.
 *
 * Numbers of lines are dense, and the books of the caches know the oldest and the newest: no read
 * starts among rows that rotated out, nor runs past the last one into those of another function,
 * because LevelDB walks over every deleted row on its way.
 */

import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { LogLine } from '../protocol/log-line.ts'
import { logRange } from './log-key.ts'
import type { LogQuery, Logs } from './ports.ts'
import { parseLogRow } from './rows.ts'
import type { Store } from './store/store.ts'

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

interface Deps {
  readonly store: Pick<Store, 'range'>
  /** The books, which are ahead of the disk by one commit. */
  readonly span: (funcId: string) => { readonly first: number; readonly last: number }
}

const lineBytes = (line: LogLine): number =>
  256 +
  line.ShortStdin.length +
  line.ShortStdout.length +
  line.ShortStderr.length +
  line.Message.length

const isWanted = (line: LogLine, query: LogQuery): boolean =>
  line.Seq > query.since && (query.callId === null || line.CallId === query.callId)

/** Reading what is stored. */
const createReader = ({ store, span }: Deps) => {
  /** The lines after one number and up to another, none of which has rotated out. */
  const readPage = async (funcId: string, after: number, upTo: number): Promise<LogLine[]> => {
    const limit = upTo - after
    if (limit <= 0) return []
    const page: LogLine[] = []
    const range = { ...logRange(funcId, after, upTo), limit }
    for await (const [, value] of store.range('log', range)) page.push(parseLogRow(value))
    return page
  }

  async function* readFrom(funcId: string, since: number): AsyncGenerator<LogLine> {
    for (let after = since; ; ) {
      const { first, last } = span(funcId)
      after = Math.max(after, first - 1)
      const page = await readPage(funcId, after, Math.min(after + pageLines, last))
      yield* page
      const seq = page.at(-1)?.Seq
      if (seq !== undefined) after = seq
      // Nothing came, and nothing has rotated out meanwhile: the rest is not on the disk yet.
      else if (span(funcId).first - 1 <= after) return
    }
  }

  /** The number before the last `tail` wanted lines, looked for page by page from the newest. */
  const tailStart = async (funcId: string, query: LogQuery, tail: number): Promise<number> => {
    const { first, last } = span(funcId)
    const oldest = Math.max(query.since, first - 1)
    if (query.callId === null || tail === 0) return Math.max(oldest, last - tail)
    let left = tail
    for (let upTo = last; upTo > oldest; upTo -= pageLines) {
      const page = await readPage(funcId, Math.max(oldest, upTo - pageLines), upTo)
      for (const line of page.reverse()) {
        if (isWanted(line, query)) left -= 1
        if (left === 0) return line.Seq - 1
      }
    }
    return oldest
  }

  return async function* read(funcId: string, query: LogQuery): AsyncGenerator<LogLine> {
    const since = query.tail === null ? query.since : await tailStart(funcId, query, query.tail)
    for await (const line of readFrom(funcId, since)) if (isWanted(line, query)) yield line
  }
}

export const createLogs = (deps: Deps): LogBook => {
  const followers = new Map<string, Set<Follower>>()
  let followerCount = 0
  const read = createReader(deps)

  const subscribe = (funcId: string): Follower => {
    const follower: Follower = { lines: [], bytes: 0, wake: () => undefined }
    const set = followers.get(funcId) ?? new Set()
    followers.set(funcId, set.add(follower))
    followerCount += 1
    return follower
  }

  const unsubscribe = (funcId: string, follower: Follower): void => {
    const set = followers.get(funcId)
    set?.delete(follower)
    followerCount -= 1
    if (set?.size === 0) followers.delete(funcId)
  }

  async function* followLines(funcId: string, query: LogQuery, signal: AbortSignal) {
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
    follow(funcId, query, signal) {
      if (followerCount >= limits.logFollowersMax) {
        throw new HyperError('OVERLOADED', `${followerCount} logs are being followed`)
      }
      return followLines(funcId, query, signal)
    },
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
