/**
 * A stored value: CRC-32 of the body, then the body as dag-cbor. LevelDB returns rotten bytes
 * without an error, so every read is checked.
 */

import { crc32 } from 'node:zlib'
import * as cbor from '@ipld/dag-cbor'
import { HyperError } from '../protocol/errors.ts'

const CHECKSUM_BYTES = 4

export const sealRow = (value: unknown): Uint8Array => {
  const body = cbor.encode(value)
  const sealed = new Uint8Array(CHECKSUM_BYTES + body.byteLength)
  new DataView(sealed.buffer).setUint32(0, crc32(body))
  sealed.set(body, CHECKSUM_BYTES)
  return sealed
}

/** The checksum as it is stored. Of a row too short to have one: 0. */
export const checksumOf = (sealed: Uint8Array): number =>
  sealed.byteLength < CHECKSUM_BYTES
    ? 0
    : new DataView(sealed.buffer, sealed.byteOffset).getUint32(0)

/** Throws STATE_DAMAGED, naming the row. */
export const unsealRow = (sealed: Uint8Array, where: string): unknown => {
  const body = sealed.subarray(CHECKSUM_BYTES)
  const isWhole = sealed.byteLength >= CHECKSUM_BYTES && checksumOf(sealed) === crc32(body)
  if (!isWhole) {
    throw new HyperError('STATE_DAMAGED', `the stored row ${where} does not match its checksum`)
  }
  return cbor.decode(body)
}
