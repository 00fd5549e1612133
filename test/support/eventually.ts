/** Polling with a deadline: what a test waits for, instead of sleeping. */

import { setTimeout as pause } from 'node:timers/promises'

const pollMs = 10

/** The first value that is not undefined or false. What `probe` throws ends the wait. */
export const eventually = async <T>(
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  deadlineMs = 10_000,
  describe: () => string = () => 'it did not come true in time',
): Promise<T> => {
  const end = performance.now() + deadlineMs
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value
    if (performance.now() > end) throw new Error(describe())
    await pause(pollMs)
  }
}
