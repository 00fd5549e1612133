/**
 * The life of one one-shot container with a call in it: frame in, header, bodies and trailers out,
 * then the account of it. It is given a started container and never removes it: that waits for
 * the outbox. One that is whole stays attached, since hyper-init leaves when STDIN is closed, and
 * that is put off until the answer is on its way.
 *
 *   framed    the frame is written               ─► running at the header on STDOUT
 *   running   reading; STDERR beyond its bound is drained
 *   whole     both trailers came
 *   cut       the streams ended without them: hyper-init died, or the engine; the caller looks
 *             again at what the engine kept
 *   overflow, overdue, stopped
 *             we ended it: too much STDOUT; hyper-init did not end it long after the function's
 *             timeout; cancelled, the agent leaves, or it filled the disk
 */

import type { AttemptResult } from '../protocol/call.ts'
import { limits } from '../protocol/limits.ts'
import type { Assignment } from '../protocol/messages.ts'
import { type EndedAttempt, isWhole, mayBeOutOfMemory, resultOf } from './classify.ts'
import type { Command } from './command.ts'
import { createStreamParser, encodeFrame, type StreamParser } from './init/frame.ts'
import { startLongTimer } from './long-timer.ts'
import type { Nonces } from './nonces.ts'
import type { ContainerState, Runner, RunningContainer } from './runner/runner.ts'

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
  /** Aborted with a StopReason. */
  readonly stop: AbortSignal
}

type Ending = 'whole' | 'cut' | 'overflow' | 'overdue' | 'stopped'

interface Heard {
  readonly stdout: StreamParser
  readonly stderr: StreamParser
  readonly ending: Ending
}

/** How long after the function's timeout we end its container ourselves; 0: never. */
export const overdueMs = (timeoutMs: number): number =>
  timeoutMs === 0 ? 0 : timeoutMs + limits.stopGraceMs + limits.timeoutMarginMs

const frameOf = ({ assignment, command, nonces }: Stay): Uint8Array[] =>
  encodeFrame({
    ...nonces,
    callId: assignment.key.call,
    attempt: assignment.key.attempt,
    timeoutMs: assignment.timeoutMs,
    stopSignal: command.stopSignal,
    argv: command.argv,
    environment: assignment.environment,
    payload: assignment.payload,
  })

/** Reads both streams to one of the endings. The connection is kept only of one that is whole. */
const hear = async (stay: Stay): Promise<Heard> => {
  const { container, assignment, stop } = stay
  const { promise: ended, resolve: end } = Promise.withResolvers<Ending>()
  const identity = {
    ...stay.nonces,
    callId: assignment.key.call,
    attempt: assignment.key.attempt,
  }
  const stdout = createStreamParser({
    ...identity,
    bytesMax: limits.stdoutBytesMax,
    onOverflow: () => {
      container.pause()
      end('overflow')
    },
  })
  const stderr = createStreamParser({ ...identity, bytesMax: limits.stderrBytesMax })
  let isRunning = false
  const push = (stream: StreamParser, chunk: Uint8Array): void => {
    stream.push(chunk)
    if (!isRunning && stdout.headerSeen) {
      isRunning = true
      stay.onRunning()
    }
    if (stdout.trailer !== null && stderr.trailer !== null) end('whole')
  }
  const frame = frameOf(stay)
  const timer = startLongTimer(overdueMs(assignment.timeoutMs), () => end('overdue'))
  const onStop = (): void => end('stopped')
  stop.addEventListener('abort', onStop, { once: true })
  if (stop.aborted) onStop()
  container.read({
    onStdout: (chunk) => push(stdout, chunk),
    onStderr: (chunk) => push(stderr, chunk),
  })
  container.write(frame)
  const ending = await Promise.race([ended, container.ended.then(() => 'cut' as const)])
  timer.cancel()
  stop.removeEventListener('abort', onStop)
  const isResult = ending === 'whole' && isWhole(stdout, stderr)
  if (isResult) container.ignore()
  else container.detach()
  // Trailers of streams that did not begin as ours do prove nothing.
  return { stdout, stderr, ending: ending === 'whole' && !isResult ? 'cut' : ending }
}

const endedBy = (ending: Ending, stop: AbortSignal): EndedAttempt['endedBy'] => {
  if (ending === 'stopped') return stop.reason === 'disk' ? 'disk' : 'leaving'
  return ending === 'overflow' || ending === 'overdue' ? ending : null
}

/** The streams were cut; what had come of them until then, without header and trailer. */
export interface Cut {
  readonly ending: 'cut'
  readonly stdout: Seen
  readonly stderr: Seen
}

export type Seen = { readonly body: Uint8Array; readonly isMidLine: boolean }

const seenOf = (stream: StreamParser): Seen => ({
  body: stream.body(),
  isMidLine: stream.isMidLine,
})

/**
 * Runs the call to its end. Null: it was cancelled before it had a result. Throws only before
 * anything was sent to the container.
 */
export const runCall = async (stay: Stay): Promise<AttemptResult | Cut | null> => {
  const { assignment, stop } = stay
  const startedAt = performance.now()
  const { stdout, stderr, ending } = await hear(stay)
  // Before `end`: what may be the start of a trailer is no part of the body.
  if (ending === 'cut') return { ending, stdout: seenOf(stdout), stderr: seenOf(stderr) }
  stdout.end()
  stderr.end()
  const hasResult = isWhole(stdout, stderr)
  if (ending === 'stopped' && stop.reason === 'cancel' && !hasResult) return null
  const needsLook = ending === 'whole' && mayBeOutOfMemory(stdout.trailer)
  return resultOf({
    ...{ stdout, stderr, endedBy: endedBy(ending, stop) },
    container: needsLook ? await stateOf(stay) : null,
    ...{ imagePlatform: stay.imagePlatform, enginePlatform: stay.enginePlatform },
    command: stay.command.argv[0] ?? '',
    timeoutMs: assignment.timeoutMs,
    startMs: stay.startMs,
    runMs: performance.now() - startedAt,
  })
}

/** The container's state once it has ended; null where the engine cannot say. */
const stateOf = async ({ runner, container }: Stay): Promise<ContainerState | null> => {
  container.detach()
  const signal = AbortSignal.timeout(limits.engineAnswerMs)
  try {
    // The streams end a moment before the engine knows how the container ended.
    await runner.waitForEnd(container.id, signal)
    return await runner.state(container.id, signal)
  } catch {
    return null
  }
}
