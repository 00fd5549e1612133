/**
 * One attempt from its assignment to its account: takes a container, notes it down, runs the call
 * in it. The note is written before the frame, so that a missing note proves that nothing started;
 * for an at-most-once call it survives a power cut as well.
 */

import type { Log } from '../daemon/log.ts'
import type { AttemptResult } from '../protocol/call.ts'
import { toHyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { Assignment } from '../protocol/messages.ts'
import { notStarted } from './classify.ts'
import { runCall } from './container.ts'
import type { Engine } from './engine.ts'
import type { DeriveNonces } from './nonces.ts'
import type { Outbox } from './outbox.ts'
import type { Runner } from './runner/runner.ts'
import type { Supplied, Supply } from './supply.ts'

export interface CallRunDeps {
  readonly engine: Pick<Engine, 'facts'>
  readonly supply: Supply
  readonly runner: Runner
  readonly outbox: Outbox
  readonly nonces: DeriveNonces
  readonly log: Log
}

export interface CallRun {
  readonly assignment: Assignment
  /** Aborted with the reason `cancel` or `leaving`. */
  readonly stop: AbortSignal
  /** From now on this container is to be removed when all is done. */
  readonly onContainer: (id: string) => void
  readonly onRunning: () => void
}

/** What became of an attempt that could not be started: null where it was cancelled. */
const unstarted = (error: unknown, stop: AbortSignal, startMs: number): AttemptResult | null => {
  if (stop.aborted) {
    if (stop.reason === 'cancel') return null
    return notStarted('AGENT_LOST', 'its agent left before the call was started', startMs)
  }
  const { code, message } = toHyperError(error)
  return notStarted(code === 'INTERNAL' ? 'START_FAILED' : code, message, startMs)
}

const noteDown = async (deps: CallRunDeps, run: CallRun, supplied: Supplied): Promise<void> => {
  const { key, memoryBytes, timeoutMs, atMostOnce } = run.assignment
  const note = {
    ...{ key, memoryBytes, timeoutMs },
    container: supplied.container.id,
    command: supplied.command.argv[0] ?? '',
    imagePlatform: supplied.image.platform,
  }
  await deps.outbox.putNote(note, atMostOnce)
}

/** Null: cancelled before it had a result. Never rejects. */
export const performCall = async (
  deps: CallRunDeps,
  run: CallRun,
): Promise<AttemptResult | null> => {
  const startedAt = performance.now()
  const since = (): number => performance.now() - startedAt
  let supplied: Supplied
  try {
    supplied = await deps.supply.take(run.assignment, run.stop)
  } catch (error) {
    return unstarted(error, run.stop, since())
  }
  const { container, command, image } = supplied
  run.onContainer(container.id)
  try {
    await noteDown(deps, run, supplied)
  } catch (error) {
    container.detach()
    return unstarted(error, run.stop, since())
  }
  try {
    return await runCall({
      ...{ container, command, runner: deps.runner, assignment: run.assignment },
      ...{ stop: run.stop, onRunning: run.onRunning },
      nonces: deps.nonces(container.id),
      imagePlatform: image.platform,
      enginePlatform: deps.engine.facts()?.platform ?? '',
      startMs: Math.min(since(), limits.timerMsMax),
    })
  } catch (error) {
    // Only a frame that cannot be written gets here: nothing was sent to the container.
    deps.log.error({ err: error, call: run.assignment.key.call }, 'frame refused')
    container.detach()
    return unstarted(error, run.stop, since())
  }
}
