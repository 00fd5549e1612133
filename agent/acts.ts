/**
 * The supervisor of what the agent does beside its main line: every act ends here, what it throws
 * is told, and `close` waits for all of them. What must succeed in the end (the outbox's disk, an
 * engine that is away) is tried again until it does, or until `close`.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '../daemon/log.ts'
import { messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'

export interface Acts {
  /** Aborted by `close`. */
  readonly signal: AbortSignal
  start(act: Promise<unknown>): void
  /** Repeats until it succeeds. Rejects only once closed. */
  insist(what: string, act: () => Promise<unknown>): Promise<void>
  close(): Promise<void>
}

export const createActs = (log: Log): Acts => {
  const closing = new AbortController()
  const running = new Set<Promise<void>>()

  return {
    signal: closing.signal,
    start(act) {
      const done = act.then(
        () => {
          running.delete(done)
        },
        (error: unknown) => {
          running.delete(done)
          if (!closing.signal.aborted) log.error({ err: error }, 'an act of the agent failed')
        },
      )
      running.add(done)
    },
    async insist(what, act) {
      for (;;) {
        closing.signal.throwIfAborted()
        try {
          await act()
          return
        } catch (error) {
          log.warn({ reason: messageOf(error) }, what)
          await pause(limits.enginePauseMsMin, undefined, { signal: closing.signal })
        }
      }
    },
    async close() {
      closing.abort()
      while (running.size > 0) await Promise.all(running)
    },
  }
}
