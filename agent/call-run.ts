/**
 * One attempt from its assignment to its account: takes a container, notes it down, runs the call
 * in it. The note is written before the frame, so that a missing note proves that nothing started;
 * for an at-most-once call it survives a power cut as well. Should the streams be cut, the rest is
 * read from what the engine kept, as after a restart.
 */

import type { AttemptResult } from '../protocol/call.ts'
import { toHyperError } from '../protocol/errors.ts'
import type { Assignment } from '../protocol/messages.ts'
import type { AskAuth } from './auth-requests.ts'
import { notStarted } from './classify.ts'
import { type Cut, runCall } from './container.ts'
import type { Lull } from './lull.ts'
import type { Note, Outbox } from './outbox.ts'
import { adopt, type Ends, type RecoveryDeps } from './recovery.ts'
import type { RunningContainer } from './runner/runner.ts'
import type { Supplied, Supply } from './supply.ts'

export interface CallRunDeps extends RecoveryDeps {
  readonly supply: Supply
  readonly lull: Lull
  readonly outbox: Outbox
}

export interface CallRun extends Ends {
  readonly assignment: Assignment
  readonly askAuth: AskAuth
  /** From now on this container is to be removed when all is done. */
  readonly onContainer: (container: RunningContainer) => void
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

const noteOf = (assignment: Assignment, { container, command, image }: Supplied): Note => ({
  key: assignment.key,
  memoryBytes: assignment.memoryBytes,
  timeoutMs: assignment.timeoutMs,
  container: container.id,
  command: command.argv[0] ?? '',
  imagePlatform: image.platform,
})

/** What the engine kept of it tells the rest. */
interface Unread {
  readonly note: Note
  readonly cut: Cut
}

/** Throws nothing: whatever fails here failed before the frame was sent. */
const runNoted = async (
  deps: CallRunDeps,
  run: CallRun,
): Promise<AttemptResult | Unread | null> => {
  const { assignment, stop } = run
  const startedAt = performance.now()
  let supplied: Supplied | null = null
  let isIn = (): void => undefined
  try {
    const onTaken = (taken: RunningContainer): void => {
      isIn = deps.lull.enter()
      run.onContainer(taken)
    }
    supplied = await deps.supply.take(assignment, stop, onTaken, run.askAuth)
    const { container, command, image } = supplied
    const note = noteOf(assignment, supplied)
    await deps.outbox.putNote(note, assignment.atMostOnce)
    const startMs = performance.now() - startedAt
    const result = await runCall({
      ...{ container, command, assignment, stop, startMs },
      runner: deps.runner,
      onRunning() {
        isIn()
        run.onRunning()
      },
      nonces: deps.nonces(container.id),
      imagePlatform: image.platform,
      enginePlatform: deps.engine.facts()?.platform ?? '',
    })
    return result !== null && 'ending' in result ? { note, cut: result } : result
  } catch (error) {
    supplied?.container.detach()
    return unstarted(error, stop, performance.now() - startedAt)
  } finally {
    isIn()
  }
}

/** Null: cancelled before it had a result. */
export const performCall = async (
  deps: CallRunDeps,
  run: CallRun,
): Promise<AttemptResult | null> => {
  const ran = await runNoted(deps, run)
  return ran !== null && 'note' in ran ? adopt(deps, ran.note, run, ran.cut) : ran
}
