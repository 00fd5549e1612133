/**
 * The two marks that hyper-init sets around what a function writes: the header before it and the
 * trailer after it. Their layout is described in frame.ts.
 */

export const NONCE_BYTES = 16
export const TRAILER_BYTES = 20
const HEADER_BYTES = 45
const CALL_ID_BYTES = 16
const HEADER_MAGIC = '\x89HYHDR1\n'

/** `orphaned`: the dead man's switch. `stopped`: told from outside the container. */
type InitReason = 'exited' | 'signalled' | 'exec-failed' | 'timeout' | 'stopped' | 'orphaned'

export type InitTrailer = {
  reason: InitReason
  /** Whether the process ended by a signal; tells how to read `status` where we ended it. */
  bySignal: boolean
  /** Signal number, errno (exec-failed) or exit code. */
  status: number
}

const REASONS: readonly (InitReason | undefined)[] = [
  undefined,
  'exited',
  'signalled',
  'exec-failed',
  'timeout',
  'stopped',
  'orphaned',
]

/** The header that both streams of this attempt must begin with. */
export function encodeHeader(headerNonce: Uint8Array, callId: string, attempt: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.write(HEADER_MAGIC, 0, 'latin1')
  header.set(checkedNonce(headerNonce), 8)
  header.set(callIdBytes(callId), 24)
  header.writeUInt32LE(attempt, 40)
  header.write('\n', 44)
  return header
}

/** Reads what follows the nonce of a trailer at `offset`; null where hyper-init cannot have written it. */
export function decodeTrailer(bytes: Buffer, offset: number): InitTrailer | null {
  const reason = REASONS[bytes.readUInt8(offset)]
  const bySignal = bytes.readUInt8(offset + 1)
  if (reason === undefined || bySignal > 1) return null
  return { reason, bySignal: bySignal === 1, status: bytes.readUInt16LE(offset + 2) }
}

export function checkedNonce(nonce: Uint8Array): Uint8Array {
  if (nonce.length !== NONCE_BYTES) throw new RangeError(`a nonce has ${NONCE_BYTES} bytes`)
  return nonce
}

export function callIdBytes(callId: string): Uint8Array {
  const bytes = Buffer.from(callId.replaceAll('-', ''), 'hex')
  if (callId.length !== 36 || bytes.length !== CALL_ID_BYTES) {
    throw new TypeError('a call id must be a UUID')
  }
  return bytes
}
