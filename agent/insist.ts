/**
 * Acts that must succeed in the end (the outbox's disk, an engine that is away) are tried until they
 * do, or until nobody wants them any more. Every failure is told.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '../daemon/log.ts'
import { messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'

export interface Insistence {
  /** Said of a try that failed. */
  readonly what: string
  readonly log: Log
  readonly signal: AbortSignal
  /** Waited for before every try: without it there is no use in trying. */
  readonly ready?: () => Promise<void>
  readonly pauseMs?: number
}

/** Rejects only once aborted. */
export const insist = async <T>(
  { what, log, signal, ready, pauseMs = limits.insistPauseMs }: Insistence,
  act: () => Promise<T>,
): Promise<T> => {
  for (;;) {
    signal.throwIfAborted()
    await ready?.()
    try {
      return await act()
    } catch (error) {
      signal.throwIfAborted()
      log.warn({ reason: messageOf(error) }, what)
      await pause(pauseMs, undefined, { signal })
    }
  }
}
