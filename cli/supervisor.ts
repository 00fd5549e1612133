/**
 * Keeps one daemon running.
 *
 *   starting ─► serving ─► (ended) pausing ─► starting …
 *      │ never served yet        back-off 0.2 s, doubled up to 5 s, forgotten after 30 s of service
 *      └─► failed                any ─► stopping (SIGTERM, later SIGKILL) ─► stopped
 *
 * A daemon that fails before it ever served is not tried again: the reason is the user's to mend.
 * One that ends with 0 unasked has left by its own decision, and is not started again either. Any
 * other end is told in one line, with the reason and the pause; that the reason will not go away by
 * itself is said, and it is tried on, because the user may mend it meanwhile.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { DaemonReady } from '../protocol/daemon.ts'
import { ERRORS, type HyperError, toHyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { type DaemonProcess, describeEnd } from './daemon.ts'

export interface Supervisor {
  /** The first readiness; rejects when the daemon failed before it. */
  readonly ready: Promise<DaemonReady>
  /** Drains it; resolves once its process is gone. */
  readonly stop: () => Promise<void>
  readonly kill: () => void
}

export interface Supervised {
  readonly name: string
  /** Starts the process, with a configuration made anew each time. */
  readonly start: () => Promise<DaemonProcess>
  /** At every readiness, the first included. */
  readonly onReady: (ready: DaemonReady) => void
  readonly note: (line: string) => void
  readonly drainMs: number
}

/** One line, without the full stop: more follows in it. */
const reasonLine = (error: HyperError): string => {
  const line = error.line.replace(/\s*\n\s*/g, ': ').replace(/\.$/, '')
  return ERRORS[error.code].retryable ? line : `${line} (this does not go away by itself)`
}

export const supervise = (daemon: Supervised): Supervisor => {
  const { name, note } = daemon
  const stopping = new AbortController()
  const first = Promise.withResolvers<DaemonReady>()
  first.promise.catch(() => undefined)
  let current: DaemonProcess | undefined
  let hasServed = false

  /** One life of the process. Resolves to why it is over; null where it left unasked, in order. */
  const live = async (): Promise<string | null> => {
    try {
      current = await daemon.start()
      if (stopping.signal.aborted) current.signal('SIGTERM')
      const ready = await current.ready
      hasServed = true
      daemon.onReady(ready)
      first.resolve(ready)
      const end = await current.ended
      if (end.code === 0) return null
      return end.reason === null ? `died (${describeEnd(end)})` : `ended: ${reasonLine(end.reason)}`
    } catch (error) {
      await current?.ended
      if (!hasServed) throw error
      return `did not start: ${reasonLine(toHyperError(error))}`
    } finally {
      current = undefined
    }
  }

  const keep = async (): Promise<void> => {
    let pauseMs: number = limits.restartPauseMsMin
    while (!stopping.signal.aborted) {
      const startedAt = performance.now()
      const why = await live()
      if (stopping.signal.aborted) return
      if (why === null) {
        note(`The ${name} has ended by itself.`)
        return
      }
      if (performance.now() - startedAt > limits.restartForgetMs) {
        pauseMs = limits.restartPauseMsMin
      }
      note(`The ${name} ${why}; starting it again in ${pauseMs / 1000} s.`)
      await pause(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined)
      pauseMs = Math.min(pauseMs * 2, limits.restartPauseMsMax)
    }
  }

  const done = keep().catch((error: unknown) => first.reject(error))

  return {
    ready: first.promise,
    stop: async () => {
      stopping.abort()
      current?.signal('SIGTERM')
      const timer = setTimeout(
        () => current?.signal('SIGKILL'),
        daemon.drainMs + limits.stopMarginMs,
      )
      await done
      clearTimeout(timer)
      first.reject(new Error(`the ${name} was stopped`))
    },
    kill: () => {
      stopping.abort()
      current?.signal('SIGKILL')
    },
  }
}
