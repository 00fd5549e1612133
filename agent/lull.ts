/**
 * When there is time for what can wait. Starting and removing a container costs more CPU than a call
 * in a ready one, and would slow the calls beside it: both wait until no call is between getting its
 * container and running in it, and none has begun, got there or ended for a moment; but not for ever,
 * so that what waits stays bounded under load without a pause. What a function does once it runs is
 * waited for by nobody, and neither is a call that has no container yet: that one needs a start.
 */

import { limits } from '../protocol/limits.ts'
import type { Clock } from './clock.ts'

export interface Lull {
  /** A call begins or ends. */
  touch(): void
  /** A call goes into its container, until what is given back is called, at least once. */
  enter(): () => void
  /** How long what has waited since then has still to wait; 0: it may go. */
  leftMs(sinceMs: number): number
  /** Resolves when what begins to wait now may go, or once aborted. */
  wait(signal: AbortSignal): Promise<void>
}

export const createLull = (clock: Clock): Lull => {
  let touchedMs = Number.NEGATIVE_INFINITY
  let entering = 0

  const leftMs = (sinceMs: number): number => {
    const nowMs = clock.nowMs()
    const quietSinceMs = entering > 0 ? nowMs : touchedMs
    return Math.max(
      0,
      Math.min(quietSinceMs + limits.lullMs, sinceMs + limits.lullPatienceMs) - nowMs,
    )
  }

  const touch = (): void => {
    touchedMs = clock.nowMs()
  }

  return {
    touch,
    enter() {
      touch()
      entering += 1
      let isIn = false
      return () => {
        if (isIn) return
        isIn = true
        entering -= 1
        touch()
      }
    },
    leftMs,
    async wait(signal) {
      const sinceMs = clock.nowMs()
      for (let left = leftMs(sinceMs); left > 0 && !signal.aborted; left = leftMs(sinceMs)) {
        const { promise, resolve } = Promise.withResolvers<void>()
        const cancel = clock.after(left, resolve)
        const onAbort = (): void => resolve()
        signal.addEventListener('abort', onAbort, { once: true })
        await promise
        // The signal lives as long as the agent.
        signal.removeEventListener('abort', onAbort)
        cancel()
      }
    },
  }
}
