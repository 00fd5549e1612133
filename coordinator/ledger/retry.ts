/**
 * Whether a result ends its call, or only its attempt. Pure.
 *
 *   the function's own end          final; a non-zero exit while RetryOnExit is left: again
 *   never started (proven)          again after a pause, for at most 5 min on end, attempts and pauses
 *                                   together (its time in the queue is nobody's failure); it used up
 *                                   nothing
 *   its agent cannot get the image  again at once, elsewhere (exclusions.ts): it is nobody's failure
 *   the platform's failure          again after a pause, while attempts are left; it may have run
 *                                   for long, so the 5 min begin anew; at-most-once: final
 *   any of the last three, while another attempt of the call is alive: only its attempt ends
 */

import { type AttemptResult, isPlatformFailure } from '../../protocol/call.ts'
import { limits } from '../../protocol/limits.ts'
import { exclusionBy } from './exclusions.ts'
import type { Call } from './state.ts'

export type Decision =
  | { readonly kind: 'final' }
  | { readonly kind: 'attempt-only' }
  | {
      readonly kind: 'again'
      readonly pauseMs: number
      /** How long the platform has failed it, the pause that follows not counted. */
      readonly failedForMs: number
      /** The attempt counts as lost. */
      readonly usesUp: boolean
    }

export interface Standing extends Pick<Call, 'terms' | 'attemptsLost' | 'exitRetries'> {
  /** Before this attempt. */
  readonly pauseMs: number
  /** How long the platform has failed it, with this attempt. */
  readonly failedForMs: number
  readonly isAnotherAlive: boolean
  /** Its lease was lost before (it is counted), or its agent leaves: it uses up nothing. */
  readonly isSpared: boolean
}

const nextPauseMs = (pauseMs: number): number =>
  Math.min(Math.max(pauseMs * 2, limits.retryPauseMsMin), limits.retryPauseMsMax)

export const decideResult = (
  call: Standing,
  result: Pick<AttemptResult, 'code' | 'started'>,
): Decision => {
  const { terms, isAnotherAlive } = call
  if (result.code === 'CALL_EXITED' && call.exitRetries < terms.retryOnExit) {
    if (isAnotherAlive) return { kind: 'attempt-only' }
    if (terms.atMostOnce) return { kind: 'final' }
    return { kind: 'again', pauseMs: 0, failedForMs: 0, usesUp: false }
  }
  if (exclusionBy(result) !== null) {
    if (isAnotherAlive) return { kind: 'attempt-only' }
    return { kind: 'again', pauseMs: 0, failedForMs: 0, usesUp: false }
  }
  if (!isPlatformFailure(result.code)) return { kind: 'final' }
  if (isAnotherAlive) return { kind: 'attempt-only' }
  if (result.started) {
    const usesUp = !call.isSpared
    const attemptsLost = call.attemptsLost + (usesUp ? 1 : 0)
    if (terms.atMostOnce || attemptsLost >= terms.maxAttempts) return { kind: 'final' }
    return { kind: 'again', pauseMs: nextPauseMs(0), failedForMs: 0, usesUp }
  }
  const { failedForMs } = call
  if (failedForMs >= limits.platformRetryMs) return { kind: 'final' }
  return { kind: 'again', pauseMs: nextPauseMs(call.pauseMs), failedForMs, usesUp: false }
}
