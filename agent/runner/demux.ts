/**
 * Takes apart what the engine's attach sends: frames of STDOUT and STDERR, each
 * with a head of 8 bytes (stream, three zeros, length as a big-endian u32). Parts of a frame are
 * passed on as they come, as views of the chunk: only an unfinished head is ever kept. A head that
 * the engine cannot have sent throws, and so does every push after it.
 */

import type { Sinks } from './runner.ts'

export type Demuxer = { push(chunk: Uint8Array): void }

export const HEAD_BYTES = 8
export const STDOUT = 1
export const STDERR = 2

export function createDemuxer(targets: Sinks): Demuxer {
  const head = Buffer.alloc(HEAD_BYTES)
  let headBytes = 0
  let left = 0
  let target = targets.onStdout
  let broken = false

  const openFrame = (): void => {
    const stream = head.readUInt8(0)
    const known = (stream === STDOUT || stream === STDERR) && head.readUIntBE(1, 3) === 0
    if (!known) {
      broken = true
      throw new Error(`not a frame of the engine's: it begins with ${head.toString('hex')}`)
    }
    target = stream === STDOUT ? targets.onStdout : targets.onStderr
    left = head.readUInt32BE(4)
    headBytes = 0
  }

  return {
    push(chunk) {
      if (broken) throw new Error('the stream of the engine was broken before')
      let at = 0
      while (at < chunk.length) {
        if (left > 0) {
          const part = chunk.subarray(at, at + left)
          left -= part.length
          at += part.length
          target(part)
        } else {
          const part = chunk.subarray(at, at + HEAD_BYTES - headBytes)
          head.set(part, headBytes)
          headBytes += part.length
          at += part.length
          if (headBytes === HEAD_BYTES) openFrame()
        }
      }
    },
  }
}
