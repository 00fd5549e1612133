/**
 * The life of a daemon's process: configured by its parent, started, drained, stopped.
 *
 *   starting ─► serving ─► draining ─► stopped (exit 0; exit 1 where it ended by a failure)
 *      └─ failed (exit 1)      └─ a second signal, ≥ 1 s after the first: exit at once (1)
 *
 * Draining begins at SIGTERM, SIGINT, when the parent's channel closes, or when the daemon itself
 * ended. What is thrown and not
 * caught is a bug: it is logged, to the last line (log.ts), and the process exits at once (70); its
 * parent starts it again and it recovers from what it committed. It does not decide how to drain:
 * `stop` does.
 */

import type { DaemonReady, DaemonReport } from '../protocol/daemon.ts'
import { parseConfigure } from '../protocol/daemon.ts'
import { toHyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { Log } from './log.ts'

export interface Running {
  readonly ready: Omit<DaemonReady, 'type'>
  readonly log: Log
  /** Resolves when it serves; it does already where this is not there. */
  readonly serving?: Promise<void>
  /** Resolves when the daemon ended in order; rejects with the failure that leaves it no use. */
  readonly ended: Promise<void>
  /** Drains, then closes everything. Called once. */
  readonly stop: () => Promise<void>
}

type Start<C> = (
  config: C,
  progress: (message: string) => void,
  /** Told to stop while it starts: it ends its start early. */
  stopping: AbortSignal,
) => Promise<Running>

const EXIT_FAULT = 70

/** Reports to the parent; a parent that is gone is not worth an error. */
const report = (message: DaemonReport): Promise<void> =>
  new Promise((resolve) => {
    if (process.send === undefined || !process.connected) return resolve()
    process.send(message, undefined, undefined, () => resolve())
  })

const receiveConfig = <C>(parse: (value: unknown) => C): Promise<C> =>
  new Promise((resolve, reject) => {
    if (process.send === undefined) {
      return reject(
        new Error('a daemon is started by `hyper coordinator`, `hyper agent` or `hyper up`'),
      )
    }
    const timer = setTimeout(() => reject(new Error('no configuration came')), limits.configureMs)
    process.once('message', (message) => {
      clearTimeout(timer)
      try {
        resolve(parse(parseConfigure(message).config))
      } catch (error) {
        reject(error)
      }
    })
  })

/** Resolves at the first reason to stop; a second signal ends the process. */
const stopRequested = (): Promise<string> =>
  new Promise((resolve) => {
    let firstAt: number | undefined
    const onSignal = (signal: NodeJS.Signals): void => {
      if (firstAt !== undefined && performance.now() - firstAt >= limits.secondSignalMs)
        process.exit(1)
      firstAt ??= performance.now()
      resolve(signal)
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
    process.once('disconnect', () => resolve('parent gone'))
  })

/** Runs a daemon from configuration to exit. Never returns control to a caller that would go on. */
export const runDaemon = async <C>(
  parse: (value: unknown) => C,
  start: Start<C>,
): Promise<void> => {
  const stopReason = stopRequested()
  const stopping = new AbortController()
  const asked = stopReason.then((reason) => {
    stopping.abort()
    return { reason, exit: 0 }
  })
  let running: Running
  try {
    const config = await receiveConfig(parse)
    running = await start(
      config,
      (message) => {
        report({ type: 'progress', message }).catch(() => undefined)
      },
      stopping.signal,
    )
  } catch (error) {
    const { code, line } = toHyperError(error)
    if (code === 'INTERNAL') console.error(error)
    await report({ type: 'failed', code, message: line })
    process.exit(1)
  }
  const { log } = running
  const crash = (error: unknown): void => {
    log.fatal({ err: error }, 'stopped by a fault of its own')
    process.exit(EXIT_FAULT)
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
  const tellReady = (): Promise<void> => report({ type: 'ready', ...running.ready })
  // One that does not serve yet goes on trying, and can be stopped meanwhile.
  if (running.serving === undefined) await tellReady()
  else running.serving.then(tellReady).catch(crash)
  const endedBySelf = running.ended.then(
    () => ({ reason: 'ended', exit: 0 }),
    async (error: unknown) => {
      const { code, line } = toHyperError(error)
      log.error({ code, reason: line }, 'ended by a failure')
      await report({ type: 'failed', code, message: line })
      return { reason: code, exit: 1 }
    },
  )
  const { reason, exit } = await Promise.race([asked, endedBySelf])
  log.info({ reason }, 'draining')
  await running.stop()
  log.info('stopped')
  process.exit(exit)
}
