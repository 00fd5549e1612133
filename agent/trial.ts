/**
 * The trial of the engine: no call is taken before a container of ours ran on it (probe.ts).
 *
 *   untried ─► fit      for as long as the agent lives
 *   untried ─► unfit    why is told, and every call is refused with it ─► tried again, with pauses,
 *                       whenever the engine is there
 */

import type { Log } from '../daemon/log.ts'
import { messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { type Engine, untilUp } from './engine.ts'
import { insist } from './insist.ts'

export interface Trial {
  /** Why no call can be run here; '' where they can. */
  unfit(): string
  /** Tries once. Rejects with what is wrong. */
  run(): Promise<void>
  /** Tries until it succeeds. Rejects only once aborted. */
  insist(signal: AbortSignal): Promise<void>
}

export const createTrial = (deps: {
  readonly engine: Pick<Engine, 'isUp' | 'onChange'>
  /** Throws what is wrong. */
  readonly probe: () => Promise<void>
  readonly log: Log
  readonly pauseMs?: number
}): Trial => {
  const { engine, log, pauseMs = limits.enginePauseMsMax } = deps
  let unfit = 'the Docker engine was not tried yet'

  const run = async (): Promise<void> => {
    try {
      await deps.probe()
      unfit = ''
    } catch (error) {
      unfit = messageOf(error)
      throw error
    }
  }

  return {
    unfit: () => unfit,
    run,
    async insist(signal) {
      const what = 'the Docker engine is unsuitable: no calls are taken'
      const ready = (): Promise<void> => untilUp(engine, signal)
      await insist({ what, log, signal, ready, pauseMs }, run)
      log.info('the Docker engine runs our containers')
    },
  }
}
