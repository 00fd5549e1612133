/**
 * A stored value: CRC-32 of the body, then the body; as a row, the body is dag-cbor. LevelDB returns
 * rotten bytes without an error, so every read is checked.
 */

import { crc32 } from 'node:zlib'
import * as cbor from '@ipld/dag-cbor'
import { HyperError } from '../protocol/errors.ts'

/** What a seal adds to its body. */
const SEAL_BYTES = 4

export const seal = (body: Uint8Array): Uint8Array => {
  const sealed = new Uint8Array(SEAL_BYTES + body.byteLength)
  new DataView(sealed.buffer).setUint32(0, crc32(body))
  sealed.set(body, SEAL_BYTES)
  return sealed
}

/** The checksum as it is stored. Of a row too short to have one: 0. */
const checksumOf = (sealed: Uint8Array): number => {
  if (sealed.byteLength < SEAL_BYTES) return 0
  const high = ((sealed[0] ?? 0) << 24) | ((sealed[1] ?? 0) << 16)
  return (high | ((sealed[2] ?? 0) << 8) | (sealed[3] ?? 0)) >>> 0
}

/** The body. Throws STATE_DAMAGED, naming where it stands. */
export const openSeal = (sealed: Uint8Array, where: string): Uint8Array => {
  const body = sealed.subarray(SEAL_BYTES)
  const isWhole = sealed.byteLength >= SEAL_BYTES && checksumOf(sealed) === crc32(body)
  if (!isWhole) {
    throw new HyperError('STATE_DAMAGED', `the stored row ${where} does not match its checksum`)
  }
  return body
}

export const sealRow = (value: unknown): Uint8Array => seal(cbor.encode(value))

/** Throws STATE_DAMAGED, naming the row. */
export const unsealRow = (sealed: Uint8Array, where: string): unknown =>
  cbor.decode(openSeal(sealed, where))
