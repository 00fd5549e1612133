/**
 * The life of one one-shot container with a call in it: frame in, header, bodies and trailers out,
 * then the account of it. It is given a started container and never removes it: that waits for
 * the outbox.
 *
 *   framed    the frame is written               ─► running at the header on STDOUT
 *   running   reading; STDERR beyond its bound is drained
 *   ended     both trailers came, or both streams ended, or we ended it
 *
 * We end it ourselves when STDOUT goes over its bound, when hyper-init did not end it long after
 * the function's timeout, when it was cancelled, or when the agent leaves.
 */

import type { AttemptResult } from '../protocol/call.ts'
import { limits } from '../protocol/limits.ts'
import type { Assignment } from '../protocol/messages.ts'
import { type EndedAttempt, isWhole, mayBeOutOfMemory, resultOf } from './classify.ts'
import type { Command } from './command.ts'
import { createStreamParser, encodeFrame } from './init/frame.ts'
import { startLongTimer } from './long-timer.ts'
import type { Nonces } from './nonces.ts'
import type { Runner, RunningContainer } from './runner/runner.ts'

export interface Stay {
  readonly runner: Runner
  readonly container: RunningContainer
  readonly nonces: Nonces
  readonly assignment: Assignment
  readonly command: Command
  readonly imagePlatform: string
  readonly enginePlatform: string
  readonly startMs: number
  /** hyper-init took the frame and starts the function's process. Called at most once. */
  readonly onRunning: () => void
  /** Aborted with reason `cancel` or `leaving`. */
  readonly stop: AbortSignal
}

/** How long after the function's timeout we end its container ourselves; 0: never. */
export const overdueMs = (timeoutMs: number): number =>
  timeoutMs === 0 ? 0 : timeoutMs + limits.stopGraceMs + limits.timeoutMarginMs

const endedByOf = (stop: AbortSignal, own: EndedAttempt['endedBy']): EndedAttempt['endedBy'] =>
  own ?? (stop.aborted ? 'leaving' : null)

/** Runs the call to its end. Null: it was cancelled before it had a result. */
export const runCall = async (stay: Stay): Promise<AttemptResult | null> => {
  const { container, assignment, nonces, command } = stay
  const startedAt = performance.now()
  let endedBy: EndedAttempt['endedBy'] = null
  let isRunning = false
  let finish = (): void => undefined
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  const identity = { ...nonces, callId: assignment.key.call, attempt: assignment.key.attempt }
  const stdout = createStreamParser({
    ...identity,
    bytesMax: limits.stdoutBytesMax,
    onOverflow: () => {
      container.pause()
      endedBy = 'overflow'
      finish()
    },
  })
  const stderr = createStreamParser({ ...identity, bytesMax: limits.stderrBytesMax })
  const look = (): void => {
    if (!isRunning && stdout.headerSeen) {
      isRunning = true
      stay.onRunning()
    }
    if (stdout.trailer !== null && stderr.trailer !== null) finish()
  }
  const timer = startLongTimer(overdueMs(assignment.timeoutMs), () => {
    endedBy = 'overdue'
    finish()
  })
  stay.stop.addEventListener('abort', finish, { once: true })
  if (stay.stop.aborted) finish()
  try {
    container.read({
      onStdout: (chunk) => {
        stdout.push(chunk)
        look()
      },
      onStderr: (chunk) => {
        stderr.push(chunk)
        look()
      },
    })
    container.write(
      encodeFrame({
        ...identity,
        timeoutMs: assignment.timeoutMs,
        stopSignal: command.stopSignal,
        argv: command.argv,
        environment: assignment.environment,
        payload: assignment.payload,
      }),
    )
    await Promise.race([finished, container.ended])
  } finally {
    timer.cancel()
    stay.stop.removeEventListener('abort', finish)
  }
  const isComplete = isWhole(stdout, stderr)
  container.detach()
  stdout.end()
  stderr.end()
  if (!isComplete && stay.stop.aborted && stay.stop.reason === 'cancel') return null
  const needsLook = endedBy === null && mayBeOutOfMemory(isComplete ? stdout.trailer : null)
  const state = needsLook ? await lookAtEnd(stay) : null
  return resultOf({
    ...{ stdout, stderr, container: state },
    ...{ imagePlatform: stay.imagePlatform, enginePlatform: stay.enginePlatform },
    command: command.argv[0] ?? '',
    timeoutMs: assignment.timeoutMs,
    endedBy: endedByOf(stay.stop, endedBy),
    startMs: stay.startMs,
    runMs: performance.now() - startedAt,
  })
}

/** The container's state once it has ended; null where the engine cannot say. */
const lookAtEnd = async (stay: Stay): ReturnType<Runner['state']> => {
  const signal = AbortSignal.timeout(limits.engineAnswerMs)
  try {
    // The streams end a moment before the engine knows how the container ended.
    await stay.runner.waitForEnd(stay.container.id, signal)
    return await stay.runner.state(stay.container.id, signal)
  } catch {
    return null
  }
}
