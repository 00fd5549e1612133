/**
 * Snappy, decoded: LevelDB stores a block so where that makes it shorter. The text has its length in
 * front; then come literals, and copies of what was decoded before.
 */

import { HyperError } from '../protocol/errors.ts'
import { createByteReader } from './byte-reader.ts'

/** What `compressed` was made of. Throws STATE_DAMAGED; never more than `bytesMax` is held. */
export const decodeSnappy = (compressed: Uint8Array, bytesMax: number): Uint8Array => {
  const wrong = (): HyperError =>
    new HyperError('STATE_DAMAGED', 'a compressed block cannot be decoded')
  const from = createByteReader(compressed, wrong)
  const length = from.varint()
  if (length > bytesMax) throw wrong()
  const decoded = new Uint8Array(length)
  let at = 0

  const copy = (distance: number, count: number): void => {
    if (distance === 0 || distance > at || at + count > length) throw wrong()
    // Byte by byte: a copy may reach into what it writes itself.
    for (let n = 0; n < count; n += 1) decoded[at + n] = decoded[at + n - distance] ?? 0
    at += count
  }

  const literal = (short: number): void => {
    const count = (short < 60 ? short : from.number(short - 59)) + 1
    if (at + count > length) throw wrong()
    decoded.set(from.bytes(count), at)
    at += count
  }

  while (!from.isAtEnd()) {
    const tag = from.number(1)
    const kind = tag & 3
    if (kind === 0) literal(tag >>> 2)
    else if (kind === 1) copy(((tag >>> 5) << 8) | from.number(1), ((tag >>> 2) & 7) + 4)
    else copy(from.number(kind === 2 ? 2 : 4), (tag >>> 2) + 1)
  }
  if (at !== length) throw wrong()
  return decoded
}
