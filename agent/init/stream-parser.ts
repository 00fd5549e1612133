/**
 * Reads one stream (STDOUT or STDERR) of a container: header, body, trailer, in whatever chunks it
 * comes. It never throws on what a stream brings and never waits for more than it must.
 *
 *   header   comparing with the expected header ─► body, whether it matched or not
 *   body     keeping at most `bytesMax` bytes, counting all, looking for the trailer ─► ended
 *   ended    the trailer came; what follows is ignored
 *
 * A stream that does not begin with the expected header is a violation, or not one of hyper-init:
 * `headerMissing` is set and all of it is body; its trailer is still looked for. Only a stream
 * with `headerSeen` and a `trailer` counts as a result.
 */

import {
  checkedNonce,
  decodeTrailer,
  encodeHeader,
  type InitTrailer,
  NONCE_BYTES,
  TRAILER_BYTES,
} from './marks.ts'

const NEWLINE = 0x0a

type StreamParserOptions = {
  headerNonce: Uint8Array
  trailerNonce: Uint8Array
  callId: string
  attempt: number
  /** Body bytes that are kept: the first ones. */
  bytesMax: number
  /** Called once, when the first body byte beyond `bytesMax` came. */
  onOverflow?: () => void
}

export type StreamParser = {
  push(chunk: Uint8Array): void
  /** The stream ended: bytes held back as the possible start of a trailer become body. */
  end(): void
  readonly state: 'header' | 'body' | 'ended'
  readonly headerSeen: boolean
  readonly headerMissing: boolean
  readonly overflowed: boolean
  /** All bytes of the body, also those that were not kept. */
  readonly bodyBytes: number
  /** The last byte of the body came, and was no newline; nothing ended the body. */
  readonly isMidLine: boolean
  /** What was kept of the body. Final once `state` is `ended`, or after `end()`. */
  body(): Uint8Array
  readonly trailer: InitTrailer | null
}

/** Keeps the first `bytesMax` bytes in one buffer that doubles: no chunk's memory is held on to. */
function createKeep(bytesMax: number, onOverflow: () => void) {
  let buffer = Buffer.alloc(0)
  let kept = 0
  let total = 0
  let last = NEWLINE
  return {
    add(bytes: Uint8Array): void {
      const overflowedBefore = total > bytesMax
      total += bytes.length
      last = bytes.at(-1) ?? last
      const taken = bytes.subarray(0, bytesMax - kept)
      if (kept + taken.length > buffer.length) {
        const size = Math.min(bytesMax, Math.max(kept + taken.length, buffer.length * 2))
        const grown = Buffer.alloc(size)
        grown.set(buffer.subarray(0, kept))
        buffer = grown
      }
      buffer.set(taken, kept)
      kept += taken.length
      if (!overflowedBefore && total > bytesMax) onOverflow()
    },
    total: (): number => total,
    isMidLine: (): boolean => last !== NEWLINE,
    bytes: (): Uint8Array => buffer.subarray(0, kept),
  }
}

/** How many of the last bytes could be the start of the nonce, were there more to come. */
function heldBack(bytes: Buffer, nonce: Buffer): number {
  for (let length = Math.min(NONCE_BYTES - 1, bytes.length); length > 0; length--) {
    if (bytes.subarray(bytes.length - length).equals(nonce.subarray(0, length))) return length
  }
  return 0
}

type Found = { bodyEnd: number; trailer: InitTrailer | null }

/** Where the body in these bytes surely ends, and the trailer that ends it if all of it is there. */
function findTrailer(bytes: Buffer, nonce: Buffer): Found {
  let from = 0
  for (;;) {
    const at = bytes.indexOf(nonce, from)
    if (at < 0) return { bodyEnd: bytes.length - heldBack(bytes, nonce), trailer: null }
    if (at + TRAILER_BYTES > bytes.length) return { bodyEnd: at, trailer: null }
    const trailer = decodeTrailer(bytes, at + NONCE_BYTES)
    if (trailer !== null) return { bodyEnd: at, trailer }
    from = at + 1
  }
}

export function createStreamParser(options: StreamParserOptions): StreamParser {
  const header = encodeHeader(options.headerNonce, options.callId, options.attempt)
  const nonce = Buffer.from(checkedNonce(options.trailerNonce))
  const keep = createKeep(options.bytesMax, () => options.onOverflow?.())
  let state: StreamParser['state'] = 'header'
  let headerMatched = 0
  let headerMissing = false
  let held = Buffer.alloc(0)
  let trailer: InitTrailer | null = null

  /** Gives back what comes after the header, or what turned out not to be one. */
  const readHeader = (bytes: Buffer): Buffer => {
    const compared = bytes.subarray(0, header.length - headerMatched)
    const expected = header.subarray(headerMatched, headerMatched + compared.length)
    if (!compared.equals(expected)) {
      headerMissing = true
      state = 'body'
      return Buffer.concat([header.subarray(0, headerMatched), bytes])
    }
    headerMatched += compared.length
    if (headerMatched === header.length) state = 'body'
    return bytes.subarray(compared.length)
  }

  /** Held bytes are at most 19, and seldom any, so that joining them costs one copy of a chunk. */
  const readBody = (bytes: Buffer): void => {
    const joined = held.length > 0 ? Buffer.concat([held, bytes]) : bytes
    const found = findTrailer(joined, nonce)
    keep.add(joined.subarray(0, found.bodyEnd))
    trailer = found.trailer
    held = trailer === null ? Buffer.from(joined.subarray(found.bodyEnd)) : Buffer.alloc(0)
    if (trailer !== null) state = 'ended'
  }

  return {
    push(chunk) {
      let bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      if (state === 'header' && bytes.length > 0) bytes = readHeader(bytes)
      if (state === 'body' && bytes.length > 0) readBody(bytes)
    },
    end() {
      if (state === 'header' && headerMatched > 0) readBody(header.subarray(0, headerMatched))
      if (state === 'header') headerMissing = true
      if (state === 'header') state = 'body'
      keep.add(held)
      held = Buffer.alloc(0)
    },
    get state() {
      return state
    },
    get headerSeen() {
      return headerMatched === header.length
    },
    get headerMissing() {
      return headerMissing
    },
    get overflowed() {
      return keep.total() > options.bytesMax
    },
    get bodyBytes() {
      return keep.total()
    },
    get isMidLine() {
      return trailer === null && keep.isMidLine()
    },
    body: keep.bytes,
    get trailer() {
      return trailer
    },
  }
}
