/**
 * Whether a result ends its call, or only its attempt. Pure.
 *
 *   the function's own end          final; a non-zero exit while RetryOnExit is left: again
 *   never started (proven)          again after a pause, for at most 5 min; it used up nothing
 *   the platform's failure          again after a pause, while attempts and the 5 min are left;
 *                                   an at-most-once call may have started, so it is final
 *   either of the last two, while another attempt of the call is alive: only its attempt ends
 */

import { type AttemptResult, isPlatformFailure } from '../../protocol/call.ts'
import { limits } from '../../protocol/limits.ts'
import type { Call } from './state.ts'

export type Decision =
  | { readonly kind: 'final' }
  | { readonly kind: 'attempt-only' }
  | {
      readonly kind: 'again'
      readonly pauseMs: number
      readonly attemptsLost: number
      readonly exitRetries: number
    }

type Standing = Pick<Call, 'terms' | 'attemptsLost' | 'exitRetries' | 'failingSinceMs' | 'pauseMs'>

const nextPauseMs = (pauseMs: number): number =>
  Math.min(Math.max(pauseMs * 2, limits.retryPauseMsMin), limits.retryPauseMsMax)

export const decideResult = (
  call: Standing,
  result: Pick<AttemptResult, 'code' | 'started'>,
  isAnotherAlive: boolean,
  nowMs: number,
): Decision => {
  const { terms } = call
  if (result.code === 'CALL_EXITED' && call.exitRetries < terms.retryOnExit) {
    if (isAnotherAlive) return { kind: 'attempt-only' }
    if (terms.atMostOnce) return { kind: 'final' }
    const exitRetries = call.exitRetries + 1
    return { kind: 'again', pauseMs: 0, attemptsLost: call.attemptsLost, exitRetries }
  }
  if (!isPlatformFailure(result.code)) return { kind: 'final' }
  if (isAnotherAlive) return { kind: 'attempt-only' }
  const failingMs = nowMs - (call.failingSinceMs ?? nowMs)
  const attemptsLost = call.attemptsLost + (result.started ? 1 : 0)
  if (result.started && (terms.atMostOnce || attemptsLost >= terms.maxAttempts))
    return { kind: 'final' }
  if (failingMs >= limits.platformRetryMs) return { kind: 'final' }
  return {
    kind: 'again',
    pauseMs: nextPauseMs(call.pauseMs),
    attemptsLost,
    exitRetries: call.exitRetries,
  }
}
