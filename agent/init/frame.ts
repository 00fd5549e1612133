/**
 * What crosses the streams of hyper-init, in both directions. This file is the reference for both
 * sides: frame.c reads the frame; marks.c writes header and trailer, which marks.ts knows and
 * stream-parser.ts finds. Numbers are little endian.
 *
 * Frame, agent → hyper-init, once, on STDIN:
 *
 *     0  8  magic 89 'HYFRM1' 0A       64  4  attempt
 *     8  4  body bytes (≤ 2 MiB)       68  4  stop signal (1–64)
 *    12  4  payload bytes (≤ 1 MiB)    72  8  timeout in ms from the exec, 0 = none
 *    16 16  header nonce               80  4  number of arguments (≥ 1)
 *    32 16  trailer nonce              84  4  number of environment entries
 *    48 16  call id                    88  …  body, then payload
 *
 * The body is the arguments, then the environment entries (NAME=value), each ended by a NUL, and
 * nothing else. Anything unlike this ends hyper-init with status 250 and starts nothing.
 *
 * Header, hyper-init → agent, first on STDOUT and on STDERR:
 *
 *     0  8  magic 89 'HYHDR1' 0A   8 16  header nonce   24 16  call id   40 4  attempt   44 1  0A
 *
 * It ends in a newline because an engine writes its log by lines: what has none is lost with it.
 *
 * Then what the function's processes write, then the trailer on both streams:
 *
 *     0 16  trailer nonce   16 1  reason   17 1  1 = by a signal   18 2  status
 *
 * Reasons: 1 exited, 2 signalled, 3 exec-failed, 4 timeout, 5 stopped, 6 orphaned. Status: the
 * signal's number where it ended by one, the errno (of Linux) where the exec failed, else the exit
 * code. What follows a trailer does not count.
 */

import { limits } from '../../protocol/limits.ts'
import { callIdBytes, checkedNonce } from './marks.ts'

export type { InitTrailer } from './marks.ts'
export { createStreamParser, type StreamParser } from './stream-parser.ts'

const HEAD_BYTES = 88
const SIGNAL_MAX = 64
const U32_MAX = 2 ** 32 - 1

const FRAME_MAGIC = '\x89HYFRM1\n'

export type InitFrame = {
  headerNonce: Uint8Array
  trailerNonce: Uint8Array
  /** A UUID. */
  callId: string
  attempt: number
  /** From the exec of the function's process; 0 is no limit. */
  timeoutMs: number
  stopSignal: number
  argv: readonly string[]
  /** NAME=value; the last of a name wins, over the container's own as well. */
  environment: readonly string[]
  payload: Uint8Array
}

/**
 * Errnos by which a command that could not be executed tells why. ENOENT: no such command; ELIBACC:
 * it is there, but the interpreter or loader that it names is not; EACCES: not executable; ENOEXEC:
 * of no format that this machine runs; EMEDIUMTYPE: a program for another machine; E2BIG: arguments
 * or environment too large for the kernel.
 */
export const EXEC_ERRNO = {
  ENOENT: 2,
  E2BIG: 7,
  ENOEXEC: 8,
  EACCES: 13,
  ELIBACC: 79,
  EMEDIUMTYPE: 124,
} as const

/** hyper-init's exit status for "never started anything". It has no other cause. */
export const NEVER_STARTED_STATUS = 250

/** The frame as chunks to be written in order: head and body, then the payload as it is. */
export function encodeFrame(frame: InitFrame): Uint8Array[] {
  const environment = lastOfEachName(frame.environment)
  const body = encodeStrings([...frame.argv, ...environment])
  checkRange('arguments', frame.argv.length, 1, U32_MAX)
  checkRange('body bytes', body.length, 0, limits.frameBodyBytesMax)
  checkRange('payload bytes', frame.payload.length, 0, limits.payloadBytesMax)
  checkRange('attempt', frame.attempt, 0, U32_MAX)
  checkRange('stop signal', frame.stopSignal, 1, SIGNAL_MAX)
  checkRange('timeout', frame.timeoutMs, 0, Number.MAX_SAFE_INTEGER)

  const head = Buffer.alloc(HEAD_BYTES)
  head.write(FRAME_MAGIC, 0, 'latin1')
  head.writeUInt32LE(body.length, 8)
  head.writeUInt32LE(frame.payload.length, 12)
  head.set(checkedNonce(frame.headerNonce), 16)
  head.set(checkedNonce(frame.trailerNonce), 32)
  head.set(callIdBytes(frame.callId), 48)
  head.writeUInt32LE(frame.attempt, 64)
  head.writeUInt32LE(frame.stopSignal, 68)
  head.writeBigUInt64LE(BigInt(frame.timeoutMs), 72)
  head.writeUInt32LE(frame.argv.length, 80)
  head.writeUInt32LE(environment.length, 84)
  const front = Buffer.concat([head, body])
  return frame.payload.length > 0 ? [front, frame.payload] : [front]
}

function encodeStrings(strings: readonly string[]): Buffer {
  if (strings.some((text) => text.includes('\0'))) {
    throw new TypeError('arguments and environment must not contain a NUL character')
  }
  return Buffer.from(strings.map((text) => `${text}\0`).join(''))
}

/** A process that finds a name twice may take either, so hyper-init is given each name once. */
function lastOfEachName(environment: readonly string[]): string[] {
  const byName = new Map<string, string>()
  for (const entry of environment) {
    const end = entry.indexOf('=')
    if (end <= 0) throw new TypeError('an environment entry must be NAME=value')
    byName.set(entry.slice(0, end), entry)
  }
  return [...byName.values()]
}

function checkRange(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${what} of a frame must be ${min} to ${max}, not ${value}`)
  }
}
