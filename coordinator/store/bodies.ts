/**
 * Where bodies lie. Up to `inlineBodyBytesMax` a body is a row of its kind's table, in the batch that
 * brings it; above, a file, and the batch brings a row of `blob` that points to it. The order makes it
 * safe: file written and synced, then the batch; on the way out the batch, then the file removed. So
 * a crash can leave a file that nothing points to, never a pointer without its file.
 *
 * A file's name holds the number of the commit that brought it: no name is ever used for two bodies,
 * and a commit of unknown outcome is repeated under the same names. Length and checksum of the file
 * stand in its pointer. Pure: what to write is decided here, and written in store.ts.
 */

import { crc32 } from 'node:zlib'
import Type, { type Static } from 'typebox'
import { openSeal, seal } from '../../daemon/sealed-row.ts'
import { assert } from '../../protocol/assert.ts'
import { HyperError } from '../../protocol/errors.ts'
import { createParser } from '../../protocol/schema.ts'
import type { BlobFile, RawOperation, RowName } from './drive.ts'
import { decodeRow, encodeRow } from './row-form.ts'
import type { BodyKind } from './tables.ts'

const Count = Type.Integer({ minimum: 0 })
const PointerSchema = Type.Object({ commit: Count, bytes: Count, checksum: Count })
type Pointer = Static<typeof PointerSchema>

const parsePointer = createParser(PointerSchema, 'STATE_DAMAGED', 'stored pointer')

/** No dots: they separate the parts of a file's name. No other character that a path could mean. */
const BODY_KEY = /^[\w-]+(\/[\w-]+)*$/

export const blobKey = (kind: BodyKind, key: string): string => `${kind}/${key}`

/** Both places where a body can lie. */
export const placesOf = (kind: BodyKind, key: string): readonly [RowName, RowName] => [
  { table: kind, key },
  { table: 'blob', key: blobKey(kind, key) },
]

/** Throws STATE_DAMAGED. */
const decodePointer = (stored: Uint8Array | string, blob: string): Pointer =>
  parsePointer(decodeRow(stored, `blob/${blob}`))

const fileName = (blob: string, commit: number): string => `${blob.replaceAll('/', '.')}.${commit}`

/** The file that a row of `blob` points to, and the commit that brought it. Throws STATE_DAMAGED. */
export const blobFile = (
  blob: string,
  stored: Uint8Array | string,
): { name: string; commit: number } => {
  const { commit } = decodePointer(stored, blob)
  return { name: fileName(blob, commit), commit }
}

/** Throws STATE_DAMAGED. */
export const blobFileName = (blob: string, sealed: Uint8Array): string =>
  blobFile(blob, sealed).name

/** Throws STATE_DAMAGED. */
export const decodeInline = (sealed: Uint8Array, where: string): Uint8Array => {
  const { buffer, byteOffset, byteLength } = openSeal(sealed, where)
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** A file's bytes, once they are what its pointer says. Throws STATE_DAMAGED. */
export const checkFile = (
  bytes: Uint8Array | undefined,
  sealed: Uint8Array,
  blob: string,
): Uint8Array => {
  const pointer = decodePointer(sealed, blob)
  if (bytes === undefined) throw new HyperError('STATE_DAMAGED', `the file of ${blob} is missing`)
  if (bytes.byteLength !== pointer.bytes || crc32(bytes) !== pointer.checksum) {
    throw new HyperError('STATE_DAMAGED', `the file of ${blob} does not match its checksum`)
  }
  return bytes
}

/** The rows that make a body stand in one of its places and in no other, and its file if it has one. */
export const placeBody = (
  kind: BodyKind,
  key: string,
  bytes: Uint8Array,
  commit: number,
  inlineBytesMax: number,
): { readonly operations: readonly RawOperation[]; readonly file?: BlobFile } => {
  assert(BODY_KEY.test(key), 'a body’s key is words with slashes between')
  const [inline, blob] = placesOf(kind, key)
  if (bytes.byteLength <= inlineBytesMax) {
    return {
      operations: [
        { type: 'put', ...inline, value: seal(bytes) },
        { type: 'del', ...blob },
      ],
    }
  }
  const pointer: Pointer = { commit, bytes: bytes.byteLength, checksum: crc32(bytes) }
  return {
    operations: [
      { type: 'del', ...inline },
      { type: 'put', ...blob, value: encodeRow(pointer) },
    ],
    file: { name: fileName(blob.key, commit), bytes },
  }
}
