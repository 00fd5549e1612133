/**
 * Takes the engine's log of a container apart, and repairs what the `local` driver loses. Pure.
 *
 * The engine logs line by line, and reads lines into a buffer of 16 KiB. A longer line is kept in
 * pieces, and the newline that ended it is dropped when the log is read back (seen in 20.10; an
 * engine that keeps it is read as well). Each piece comes as one frame, so what was there can be
 * told: a frame without a newline at its end is a whole buffer of a line that goes on, or the end
 * of such a line, or, where nothing follows, the end of the stream. hyper-init's trailer, which
 * ends every stream, ends with no newline. The log is asked for with times, and they are cut off
 * here, because an empty piece (of a line of just 16 KiB) would be left out without one.
 */

import { HEAD_BYTES, STDERR, STDOUT } from './demux.ts'
import type { Sinks } from './runner.ts'

const NEWLINE = 0x0a
const SPACE = 0x20
const LINE_BUFFER_BYTES = 16 * 1024

const newline = Uint8Array.of(NEWLINE)

interface Stream {
  readonly push: (bytes: Uint8Array) => void
  /** The last frame ended a long line, if another one follows. */
  owesNewline: boolean
}

/** Throws where it is not a log of the engine's. */
export const readEngineLog = (log: Buffer, sinks: Sinks): void => {
  const stdout: Stream = { push: sinks.onStdout, owesNewline: false }
  const stderr: Stream = { push: sinks.onStderr, owesNewline: false }
  for (let at = 0; at < log.length; ) {
    if (log.length - at < HEAD_BYTES) throw new Error('the engine’s log ends within a frame')
    const kind = log.readUInt8(at)
    const frame = log.subarray(at + HEAD_BYTES, at + HEAD_BYTES + log.readUInt32BE(at + 4))
    const timeEnd = frame.indexOf(SPACE)
    if (timeEnd < 0) throw new Error('a frame of the engine’s log has no time')
    const body = frame.subarray(timeEnd + 1)
    if (kind !== STDOUT && kind !== STDERR) throw new Error('not a log of the engine’s')
    const stream = kind === STDOUT ? stdout : stderr
    if (stream.owesNewline) stream.push(newline)
    stream.push(body)
    stream.owesNewline = body.at(-1) !== NEWLINE && body.length < LINE_BUFFER_BYTES
    at += HEAD_BYTES + frame.length
  }
}
