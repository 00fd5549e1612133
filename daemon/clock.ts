/**
 * A clock for durations that counts the time a host was suspended: Node's own monotonic clock stops
 * in suspend, /proc/uptime does not. Between readings Node's clock fills in; `refresh` corrects it.
 * Never goes back. Where there is no /proc it is Node's clock alone.
 */

import { readFile } from 'node:fs/promises'

export interface Clock {
  nowMs(): number
  /** Reads /proc/uptime; called with every tick of a daemon. */
  refresh(): Promise<void>
}

export const createClock = (): Clock => {
  let aheadMs = 0
  let lastMs = 0
  return {
    nowMs() {
      lastMs = Math.max(lastMs, performance.now() + aheadMs)
      return lastMs
    },
    async refresh() {
      const text = await readFile('/proc/uptime', 'utf8').catch(() => '')
      const uptimeMs = Number.parseFloat(text) * 1000
      const readMs = performance.now()
      // A hundredth of a second is what the file can tell.
      if (Number.isFinite(uptimeMs)) aheadMs = Math.max(aheadMs, uptimeMs - readMs - 10)
    },
  }
}
