/**
 * STDIN as the payload of a call: when it is a pipe, a file or a socket. A terminal and /dev/null
 * are none. It is read whole before the call is made: it is at most 1 MB, a slow writer must not
 * run into the gateway's bound on slow requests, and a writer that breaks off makes no call.
 */

import { fstat } from 'node:fs'
import { promisify } from 'node:util'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'

const NOTHING = new Uint8Array()

const hasPayload = async (): Promise<boolean> => {
  try {
    const found = await promisify(fstat)(0)
    return found.isFIFO() || found.isFile() || found.isSocket()
  } catch {
    // STDIN is closed.
    return false
  }
}

export const readPayload = async (): Promise<Uint8Array> => {
  if (!(await hasPayload())) return NOTHING
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const chunk of process.stdin) {
      chunks.push(chunk)
      bytes += chunk.byteLength
      if (bytes > limits.payloadBytesMax) {
        throw new HyperError('PAYLOAD_TOO_LARGE', 'the payload on STDIN is too large')
      }
    }
  } catch (error) {
    if (error instanceof HyperError) throw error
    throw new HyperError('BAD_PARAMETER', `STDIN cannot be read: ${messageOf(error)}`)
  }
  return Buffer.concat(chunks)
}
