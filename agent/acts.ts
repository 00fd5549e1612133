/**
 * The supervisor of what the agent does beside its main line: `close` waits for all of it. An act
 * does not fail: what may go wrong is tried again or told by the act itself, so that what it throws
 * is a bug, which is not caught here and ends the process.
 */

export interface Acts {
  /** Aborted by `close`. */
  readonly signal: AbortSignal
  start(act: Promise<unknown>): void
  close(): Promise<void>
}

export const createActs = (): Acts => {
  const closing = new AbortController()
  const running = new Set<Promise<void>>()

  return {
    signal: closing.signal,
    start(act) {
      const done = act.then(
        () => {
          running.delete(done)
        },
        (error: unknown) => {
          running.delete(done)
          if (!closing.signal.aborted) throw error
        },
      )
      running.add(done)
    },
    async close() {
      closing.abort()
      while (running.size > 0) await Promise.all(running)
    },
  }
}
