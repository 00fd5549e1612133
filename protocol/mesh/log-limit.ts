/** Bounds what strangers can make us log: one line in an interval, which counts those left out. */

interface LogLimit {
  /** Calls `write` with the number of lines left out since the last one, or leaves this one out. */
  readonly line: (write: (leftOut: number) => void) => void
}

export const createLogLimit = (intervalMs: number, now: () => number): LogLimit => {
  let nextAt = Number.NEGATIVE_INFINITY
  let leftOut = 0
  return {
    line: (write) => {
      if (now() < nextAt) {
        leftOut += 1
        return
      }
      nextAt = now() + intervalMs
      write(leftOut)
      leftOut = 0
    },
  }
}
