/**
 * When there is time for what can wait. Starting and removing a container costs more CPU than a call
 * in a ready one, and would slow the calls beside it: both wait until no call has begun or ended for
 * a moment, but not for ever, so that what waits stays bounded under load without a pause.
 */

import { limits } from '../protocol/limits.ts'
import type { Clock } from './clock.ts'

export interface Lull {
  /** A call begins or ends. */
  touch(): void
  /** How long what has waited since then has still to wait; 0: it may go. */
  leftMs(sinceMs: number): number
  /** Resolves when what begins to wait now may go, or once aborted. */
  wait(signal: AbortSignal): Promise<void>
}

export const createLull = (clock: Clock): Lull => {
  let touchedMs = Number.NEGATIVE_INFINITY

  const leftMs = (sinceMs: number): number =>
    Math.max(
      0,
      Math.min(touchedMs + limits.lullMs, sinceMs + limits.lullPatienceMs) - clock.nowMs(),
    )

  return {
    touch: () => {
      touchedMs = clock.nowMs()
    },
    leftMs,
    async wait(signal) {
      const sinceMs = clock.nowMs()
      for (let left = leftMs(sinceMs); left > 0 && !signal.aborted; left = leftMs(sinceMs)) {
        const { promise, resolve } = Promise.withResolvers<void>()
        const cancel = clock.after(left, resolve)
        signal.addEventListener('abort', () => resolve(), { once: true })
        await promise
        cancel()
      }
    },
  }
}
