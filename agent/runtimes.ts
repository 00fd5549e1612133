/**
 * The runtimes that functions can ask for here by name. The engine names those that it is told of;
 * only those are offered that ran a container of ours, in which the dead man's switch was seen to
 * move: behind a runtime's cache of files it would not, and hyper-init would end long calls.
 *
 *   named by the engine ─► tried, once by each way to start it
 *   tried               ─► offered
 *                       └─► not offered until the agent starts again: why is logged
 *
 * Never twice: with some runtimes every failed start leaves processes behind. The engine's default
 * one is what the trial of the engine has run.
 */

import type { Log } from '../daemon/log.ts'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { hasNetworkUnder, isNetworked } from '../protocol/func.ts'
import type { Assignment } from '../protocol/messages.ts'
import type { Engine } from './engine.ts'

/** Names for functions to ask by: without the engine's own second names of runc. Pure. */
export const callableNames = (runtimes: readonly string[]): readonly string[] =>
  runtimes.filter((name) => !name.startsWith('io.containerd.'))

export interface Runtimes {
  /** Names that are offered now. */
  offered(): readonly string[]
  /** Tries those that were never tried, one after the other. */
  tryNew(): Promise<void>
  /** Throws START_FAILED where this call’s network would silently not be there. */
  check(call: Pick<Assignment, 'runtime' | 'network' | 'profile'>): void
}

export const createRuntimes = (deps: {
  readonly engine: Pick<Engine, 'facts'>
  /** Runs a container under it. Throws what is wrong. */
  readonly probe: (runtime: string) => Promise<void>
  readonly log: Log
  /** Called when one more is offered. */
  readonly onChange: () => void
}): Runtimes => {
  const { engine, log } = deps
  const tried = new Set<string>()
  const worked = new Set<string>()
  let trying: Promise<void> | null = null

  const named = (): readonly string[] => engine.facts()?.runtimes ?? []
  const standard = (): string => engine.facts()?.defaultRuntime ?? ''

  const tryOne = async (runtime: string): Promise<void> => {
    tried.add(runtime)
    try {
      await deps.probe(runtime)
      worked.add(runtime)
      log.info({ runtime }, 'a runtime runs our containers')
      deps.onChange()
    } catch (error) {
      const reason = messageOf(error)
      const next = 'not offered, and not tried again before the agent is started again'
      log.warn({ runtime, reason }, `a runtime of the engine does not run our containers: ${next}`)
    }
  }

  const tryAll = async (): Promise<void> => {
    for (;;) {
      const runtime = callableNames(named()).find((name) => name !== standard() && !tried.has(name))
      if (runtime === undefined) return
      await tryOne(runtime)
    }
  }

  return {
    offered: () => named().filter((name) => name === standard() || worked.has(name)),
    tryNew() {
      trying ??= tryAll().finally(() => {
        trying = null
      })
      return trying
    },
    check(call) {
      const runtime = call.runtime || standard()
      if (!isNetworked(call) || hasNetworkUnder(runtime)) return
      throw new HyperError(
        'START_FAILED',
        `under the runtime ${runtime} there is no network; make the function with --network none`,
      )
    },
  }
}
