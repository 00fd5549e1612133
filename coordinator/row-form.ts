/**
 * A row as it is stored: sealed JSON. A start reads millions of rows and a commit writes tens of
 * thousands a second, and JSON is read and written three times as fast as CBOR. Bytes are no rows:
 * they are bodies (bodies.ts).
 */

import { openSeal, SEAL_BYTES, seal } from '../daemon/sealed-row.ts'
import { HyperError, messageOf } from '../protocol/errors.ts'

export const encodeRow = (value: unknown): Uint8Array => seal(Buffer.from(JSON.stringify(value)))

/** Bytes of the row’s JSON. */
export const rowBytes = (sealed: Uint8Array): number => sealed.byteLength - SEAL_BYTES

/** Throws STATE_DAMAGED, naming the row. */
export const decodeRow = (sealed: Uint8Array, where: string): unknown => {
  const body = openSeal(sealed, where)
  try {
    return JSON.parse(textOf(body))
  } catch (cause) {
    const message = `the stored row ${where} cannot be read: ${messageOf(cause)}`
    throw new HyperError('STATE_DAMAGED', message, { cause })
  }
}

const textOf = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString()
