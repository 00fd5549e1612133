/** A timer of any length: Node's own overflow at 24.8 days, so a longer wait is taken in steps. */

import { limits } from '../protocol/limits.ts'

export interface LongTimer {
  cancel(): void
}

/** Calls once after `delayMs`; 0 is never. It keeps no process alive. */
export const startLongTimer = (delayMs: number, onTime: () => void): LongTimer => {
  let leftMs = delayMs
  let timer: NodeJS.Timeout | undefined
  const step = (): void => {
    if (leftMs <= 0) {
      onTime()
      return
    }
    const stepMs = Math.min(leftMs, limits.timerMsMax)
    leftMs -= stepMs
    timer = setTimeout(step, stepMs).unref()
  }
  if (delayMs > 0) step()
  return { cancel: () => clearTimeout(timer) }
}
