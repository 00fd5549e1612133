/**
 * A program in the foreground that runs daemons, and the signals that stop it: the first one asks
 * the daemons to drain, a second one to stop at once.
 *
 * `runForeground` runs one daemon, passes on the wish to stop, and ends as it ended. It is not
 * started again: that is for `hyper up`, or for what started this (systemd, a container engine).
 */

import type { DaemonReady } from '../protocol/daemon.ts'
import { EXIT } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { type DaemonStart, describeEnd, startDaemon } from './daemon.ts'

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']

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
    } else if (now - firstAt >= limits.secondSignalMs) {
      handlers.kill()
    }
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)
  return () => {
    for (const signal of SIGNALS) process.off(signal, onSignal)
  }
}

/** Resolves to the exit code; throws what the daemon said where it ended by itself and said why. */
export const runForeground = async (
  start: DaemonStart & { readonly config: { readonly drainMs: number } },
  onReady: (ready: DaemonReady) => void,
): Promise<number> => {
  const daemon = startDaemon(start)
  let timer: NodeJS.Timeout | undefined
  let isStopping = false
  const release = onStopSignals({
    drain: () => {
      isStopping = true
      daemon.signal('SIGTERM')
      timer = setTimeout(() => daemon.signal('SIGKILL'), start.config.drainMs + limits.stopMarginMs)
    },
    kill: () => daemon.signal('SIGKILL'),
  })
  try {
    onReady(await daemon.ready)
  } catch (error) {
    await daemon.ended
    if (!isStopping) throw error
  }
  const end = await daemon.ended
  clearTimeout(timer)
  release()
  if (!isStopping) {
    if (end.reason !== null) throw end.reason
    start.onProgress(`The ${start.name} has ended by itself (${describeEnd(end)}).`)
  }
  return end.code === EXIT.done ? EXIT.done : EXIT.failed
}
