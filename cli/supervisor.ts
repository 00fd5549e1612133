/**
 * Keeps one daemon running.
 *
 *   starting ─► serving ─► (died) pausing ─► starting …
 *      │ never served yet        back-off 0.2 s, doubled up to 5 s, forgotten after 30 s of service
 *      └─► failed                any ─► stopping (SIGTERM, later SIGKILL) ─► stopped
 *
 * A daemon that fails before it ever served is not tried again: the reason is the user's to mend.
 * One that ends with 0 unasked has left by its own decision, and is not started again either.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { DaemonReady } from '../protocol/daemon.ts'
import { toHyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { type DaemonEnd, type DaemonProcess, describeEnd } from './daemon.ts'

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

export const supervise = (daemon: Supervised): Supervisor => {
  const { name, note } = daemon
  const stopping = new AbortController()
  const first = Promise.withResolvers<DaemonReady>()
  first.promise.catch(() => undefined)
  let current: DaemonProcess | undefined
  let hasServed = false

  /** One life of the process; null where it did not come to one. */
  const live = async (): Promise<DaemonEnd | null> => {
    try {
      current = await daemon.start()
      if (stopping.signal.aborted) current.signal('SIGTERM')
      const ready = await current.ready
      hasServed = true
      daemon.onReady(ready)
      first.resolve(ready)
      return await current.ended
    } catch (error) {
      await current?.ended
      if (!hasServed) throw error
      if (!stopping.signal.aborted) note(`${name}: ${toHyperError(error).line}`)
      return null
    } finally {
      current = undefined
    }
  }

  const keep = async (): Promise<void> => {
    let pauseMs: number = limits.restartPauseMsMin
    while (!stopping.signal.aborted) {
      const startedAt = performance.now()
      const end = await live()
      if (stopping.signal.aborted) return
      if (end?.code === 0) {
        note(`The ${name} has ended by itself.`)
        return
      }
      if (performance.now() - startedAt > limits.restartForgetMs) {
        pauseMs = limits.restartPauseMsMin
      }
      const why = end === null ? 'did not start' : `died (${describeEnd(end)})`
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
