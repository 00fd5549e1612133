/**
 * From what is known of an ended container to the agent's account of the attempt. Pure.
 *
 * Only header and trailer on both streams make a result of the function's. Out of memory is the
 * function's as well, also where the kernel left no trailer. Whatever else ended the container
 * (told to stop by others, the dead man's switch, the engine's death) is a lost attempt, not the
 * function's failure. hyper-init's status 250 proves that nothing was started.
 */

import type { AttemptResult } from '../protocol/call.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import {
  EXEC_ERRNO,
  type InitTrailer,
  NEVER_STARTED_STATUS,
  type StreamParser,
} from './init/frame.ts'
import type { ContainerState } from './runner/runner.ts'
import { signalName } from './signals.ts'

const SIGKILL = 9
const SIGNAL_EXIT = 128

export interface EndedAttempt {
  readonly stdout: StreamParser
  readonly stderr: StreamParser
  /** Null: there is no such container, or nobody could tell. */
  readonly container: ContainerState | null
  readonly command: string
  readonly imagePlatform: string
  readonly enginePlatform: string
  readonly timeoutMs: number
  /** Why the agent ended it itself; null where it did not. */
  readonly endedBy: 'overflow' | 'overdue' | 'disk' | 'leaving' | null
  readonly startMs: number
  readonly runMs: number
}

type Verdict = Pick<AttemptResult, 'code' | 'exitCode' | 'message'> & { readonly started?: boolean }

const verdict = (code: ErrorCode, message: string, exitCode: number | null = null): Verdict => ({
  code,
  message,
  exitCode,
})

const execFailed = (errno: number, ended: EndedAttempt): Verdict => {
  const command = JSON.stringify(ended.command.slice(0, limits.commandQuoteCharsMax))
  switch (errno) {
    case EXEC_ERRNO.ENOENT:
      return verdict('COMMAND_NOT_FOUND', `command not found in the image: ${command}`)
    case EXEC_ERRNO.EMEDIUMTYPE:
    case EXEC_ERRNO.ENOEXEC:
      if (ended.imagePlatform !== ended.enginePlatform) {
        return verdict(
          'PLATFORM_MISMATCH',
          `the image is built for platform ${ended.imagePlatform}, this agent is ${ended.enginePlatform}`,
        )
      }
      // The image may say anything of itself.
      return errno === EXEC_ERRNO.EMEDIUMTYPE
        ? verdict(
            'PLATFORM_MISMATCH',
            `${command} is built for another platform, this agent is ${ended.enginePlatform}`,
          )
        : verdict('COMMAND_NOT_EXECUTABLE', `not a program that this machine runs: ${command}`)
    case EXEC_ERRNO.EACCES:
      return verdict('COMMAND_NOT_EXECUTABLE', `permission denied to execute ${command}`)
    case EXEC_ERRNO.ELIBACC:
      return verdict(
        'COMMAND_NOT_EXECUTABLE',
        `the interpreter or loader that ${command} names is not in the image`,
      )
    case EXEC_ERRNO.E2BIG:
      return verdict(
        'COMMAND_NOT_EXECUTABLE',
        `arguments and environment of ${command} are too large`,
      )
    default:
      return verdict('COMMAND_NOT_EXECUTABLE', `${command} could not be executed (errno ${errno})`)
  }
}

const outOfMemory = (): Verdict =>
  verdict('CALL_OUT_OF_MEMORY', 'out of memory', SIGNAL_EXIT + SIGKILL)

const timedOut = (ended: EndedAttempt): Verdict =>
  verdict('CALL_TIMED_OUT', `ran longer than ${ended.timeoutMs / 1000} s`)

const diskFull = (): Verdict =>
  verdict('CALL_DISK_FULL', 'wrote so much to its container that the host’s disk was nearly full')

const byTrailer = (trailer: InitTrailer, ended: EndedAttempt): Verdict => {
  switch (trailer.reason) {
    case 'exited':
      return trailer.status === 0
        ? verdict('FINISHED', '', 0)
        : verdict('CALL_EXITED', `exit code ${trailer.status}`, trailer.status)
    case 'signalled':
      if (trailer.status === SIGKILL && ended.container?.oomKilled === true) return outOfMemory()
      return verdict(
        'CALL_SIGNALLED',
        `ended by ${signalName(trailer.status)}`,
        SIGNAL_EXIT + trailer.status,
      )
    case 'exec-failed':
      return execFailed(trailer.status, ended)
    case 'timeout':
      return timedOut(ended)
    case 'stopped':
      return verdict('AGENT_LOST', 'its container was stopped from outside')
    case 'orphaned':
      return verdict('AGENT_LOST', 'its container ended itself: its agent was gone')
  }
}

/** Why there are no trailers. */
const withoutTrailers = (ended: EndedAttempt): Verdict => {
  const { container } = ended
  if (container?.oomKilled === true) return outOfMemory()
  if (container !== null && !container.isRunning && container.exitCode === NEVER_STARTED_STATUS) {
    const lost = verdict('START_FAILED', 'the container ended before its process was started')
    return { ...lost, started: false }
  }
  if (container === null) return verdict('AGENT_LOST', 'its container is gone')
  return verdict(
    'AGENT_LOST',
    `its container ended without a result (status ${container.exitCode})`,
  )
}

/** Whether header and trailer are there on both streams. */
export const isWhole = (stdout: StreamParser, stderr: StreamParser): boolean =>
  [stdout, stderr].every((stream) => stream.headerSeen && stream.trailer !== null)

/** Whether memory may have run out: the container's state is then to be looked at. */
export const mayBeOutOfMemory = (trailer: InitTrailer | null): boolean =>
  trailer === null || (trailer.reason === 'signalled' && trailer.status === SIGKILL)

const judge = (ended: EndedAttempt): Verdict => {
  const { trailer } = ended.stdout
  if (ended.endedBy === 'overflow' || ended.stdout.overflowed) {
    return verdict('OUTPUT_TOO_LARGE', 'more than 1 MB (1,048,576 bytes) on STDOUT')
  }
  if (trailer !== null && isWhole(ended.stdout, ended.stderr)) return byTrailer(trailer, ended)
  if (ended.endedBy === 'overdue') return timedOut(ended)
  if (ended.endedBy === 'disk') return diskFull()
  if (ended.endedBy === 'leaving') {
    return verdict('AGENT_LOST', 'its agent left before the call had ended')
  }
  return withoutTrailers(ended)
}

const stdoutBytesMaxOf = (code: ErrorCode): number =>
  code === 'OUTPUT_TOO_LARGE' ? limits.shortBytesMax : limits.stdoutBytesMax

export const resultOf = (ended: EndedAttempt): AttemptResult => {
  const { code, message, exitCode, started = true } = judge(ended)
  const isLost = code === 'AGENT_LOST' || code === 'START_FAILED'
  return {
    code,
    started,
    exitCode,
    message,
    // What a lost attempt wrote is nobody's output, and what is too large is delivered to nobody.
    stdout: isLost ? new Uint8Array(0) : ended.stdout.body().subarray(0, stdoutBytesMaxOf(code)),
    stderr: isLost ? new Uint8Array(0) : ended.stderr.body(),
    startMs: ended.startMs,
    runMs: ended.runMs,
  }
}

/** The account of an attempt whose process was never started. */
/** Of an attempt that may have run, and whose result is lost. `message`: how. */
export const lostResult = (message: string): AttemptResult => ({
  ...notStarted('AGENT_LOST', message, 0),
  started: true,
})

export const notStarted = (code: ErrorCode, message: string, startMs: number): AttemptResult => ({
  code,
  started: false,
  exitCode: null,
  message,
  stdout: new Uint8Array(0),
  stderr: new Uint8Array(0),
  startMs,
  runMs: 0,
})
