/**
 * Bytes as text that people copy and disks keep: multibase of the bytes and 4 bytes of their
 * SHA-256. A changed or missing character shows. It protects against damage, not against anyone.
 */

import { createHash } from 'node:crypto'
import { base32 } from 'multiformats/bases/base32'
import { base58btc } from 'multiformats/bases/base58'
import { base64url } from 'multiformats/bases/base64'

const checksumBytes = 4
const anyBase = base58btc.decoder.or(base32.decoder).or(base64url.decoder)

const checksum = (bytes: Uint8Array): Uint8Array =>
  createHash('sha256').update(bytes).digest().subarray(0, checksumBytes)

export const encodeCheckedText = (bytes: Uint8Array): string =>
  base58btc.encode(Buffer.concat([bytes, checksum(bytes)]))

/** Takes base58btc, base32 and base64url; null where the text is damaged. */
export const decodeCheckedText = (text: string): Uint8Array | null => {
  let sealed: Uint8Array
  try {
    sealed = anyBase.decode(text)
  } catch {
    return null
  }
  if (sealed.byteLength < checksumBytes) return null
  const bytes = sealed.slice(0, -checksumBytes)
  return Buffer.compare(checksum(bytes), sealed.subarray(-checksumBytes)) === 0 ? bytes : null
}
