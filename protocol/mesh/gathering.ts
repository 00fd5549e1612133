/**
 * Yamux tells the other side of every few bytes that it read them, and writes a frame's header and
 * its data one after the other: each a record of the encryption of its own, and mostly a packet, which
 * the other side's kernel answers. A heartbeat and its answer were nine packets so; they are three.
 *
 *   a window update ─► held ─► sent in front of the next frame, in one piece with it
 *                        └───► or alone, when all that are held come to limits.windowHeldBytesMax
 *
 * What is held never lets a sender wait: it is far less than the smallest window. All else is sent at
 * once, a small frame in one piece.
 */

import type { MessageStream, StreamMuxerFactory } from '@libp2p/interface'
import { limits } from '../limits.ts'

/** Of a frame's header: version, type, flags (2 bytes), stream (4), length (4). */
const HEADER_BYTES = 12
const WINDOW_UPDATE = 1

type Send = MessageStream['send']

/** How much a window update gives, or null: another frame, or one that says more (SYN, ACK, FIN, RST). */
const givenBy = (frame: Uint8Array): number | null => {
  if (frame.byteLength !== HEADER_BYTES) return null
  const header = new DataView(frame.buffer, frame.byteOffset, HEADER_BYTES)
  const isPlain = header.getUint8(1) === WINDOW_UPDATE && header.getUint16(2) === 0
  return isPlain ? header.getUint32(8) : null
}

/** Sends for one connection what yamux makes: each time one whole frame. */
export const gather = (send: Send): Send => {
  let held: Uint8Array[] = []
  let heldBytes = 0

  const flush = (frame: Uint8Array): boolean => {
    const piece = held.length === 0 ? frame : Buffer.concat([...held, frame])
    held = []
    heldBytes = 0
    return send(piece)
  }

  return (frame) => {
    if (frame.byteLength > limits.gatheredBytesMax) {
      if (held.length > 0) flush(new Uint8Array(0))
      return send(frame)
    }
    const bytes = frame.subarray()
    const given = givenBy(bytes)
    if (given === null) return flush(bytes)
    heldBytes += given
    if (heldBytes >= limits.windowHeldBytesMax || held.length >= limits.windowHeldFramesMax)
      return flush(bytes)
    held.push(bytes)
    return true
  }
}

/** The muxer, over connections that gather. */
export const gathering =
  <Components>(make: (components: Components) => StreamMuxerFactory) =>
  (components: Components): StreamMuxerFactory => {
    const factory = make(components)
    const createStreamMuxer = factory.createStreamMuxer.bind(factory)
    factory.createStreamMuxer = (connection) => {
      connection.send = gather(connection.send.bind(connection))
      return createStreamMuxer(connection)
    }
    return factory
  }
