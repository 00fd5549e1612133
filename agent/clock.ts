/** The time that a part of the agent lives by: the machine's, or a simulation's. */

export interface Clock {
  nowMs(): number
  /** Calls once, unless it is cancelled. Keeps no process alive. */
  after(ms: number, act: () => void): () => void
}

export const machineClock: Clock = {
  nowMs: () => performance.now(),
  after(ms, act) {
    const timer = setTimeout(act, ms).unref()
    return () => clearTimeout(timer)
  },
}
