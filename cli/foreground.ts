/**
 * Runs one daemon in the foreground: passes on the wish to stop, and ends as it ended. It is not
 * started again: that is for `hyper up`, or for what started this (systemd, a container engine).
 */

import type { DaemonReady } from '../protocol/daemon.ts'
import { EXIT } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { type DaemonStart, startDaemon } from './daemon.ts'
import { onStopSignals } from './stop-signals.ts'

export const runForeground = async (
  start: DaemonStart,
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
  const { code } = await daemon.ended
  clearTimeout(timer)
  release()
  return code === EXIT.done ? EXIT.done : EXIT.failed
}
