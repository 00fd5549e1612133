/**
 * How long an agent waits before it dials again, and how often it says that it does.
 *
 * A coordinator that does not answer is tried again after a pause of chance between `redialMsMin` and
 * `redialMsMax`, however long it is away: a try costs one packet, and agents that lost it together do
 * not come back together. One that answers and sends us away is asked less and less often.
 */

import type { Log } from '../daemon/log.ts'
import type { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { createLogLimit } from '../protocol/mesh/log-limit.ts'

export interface Redial {
  welcomed(): void
  /** The channel was closed in order. */
  ended(): void
  failed(error: HyperError): void
  /** Before the next try; `chance` is from 0 up to 1. */
  pauseMs(chance: number): number
}

export const createRedial = (log: Pick<Log, 'warn'>, nowMs = () => performance.now()): Redial => {
  let refusedMs = 0
  let isFirst = true
  let code = ''
  const newWords = () => createLogLimit(limits.absenceLogMs, nowMs)
  let words = newWords()
  const reset = (): void => {
    refusedMs = 0
    isFirst = true
    code = ''
  }
  return {
    welcomed: reset,
    ended: reset,
    failed(error) {
      // Another reason is news.
      if (error.code !== code) words = newWords()
      code = error.code
      const reason = error.line
      words.line((leftOut) => log.warn({ code, reason, leftOut }, 'no channel to the coordinator'))
      if (code === 'UNREACHABLE') refusedMs = 0
      else refusedMs = Math.min(Math.max(refusedMs * 2, limits.redialMsMax), limits.refusedMsMax)
    },
    pauseMs(chance) {
      const { redialMsMin, redialMsMax } = limits
      if (refusedMs > 0) return refusedMs * (0.5 + chance / 2)
      // The connection may have broken, and not the coordinator: the first try comes sooner.
      const minMs = isFirst ? 0 : redialMsMin
      isFirst = false
      return minMs + chance * (redialMsMax - redialMsMin)
    },
  }
}
