/**
 * The signals that stop a foreground program which runs daemons: the first one asks it to drain, a
 * second one, at least a second later, to stop at once. What comes sooner is the same wish told
 * twice (a terminal's and a parent's).
 */

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']
const SECOND_MS = 1000

/** Returns what takes the handlers off again. */
export const onStopSignals = (handlers: {
  readonly drain: () => void
  readonly kill: () => void
}): (() => void) => {
  let firstAt: number | undefined
  const onSignal = (): void => {
    const now = performance.now()
    if (firstAt === undefined) {
      firstAt = now
      handlers.drain()
    } else if (now - firstAt >= SECOND_MS) {
      handlers.kill()
    }
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)
  return () => {
    for (const signal of SIGNALS) process.off(signal, onSignal)
  }
}
