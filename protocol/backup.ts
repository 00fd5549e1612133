/**
 * The form of a backup: 12 bytes in the clear (`HYPERBAK`, and the form's version as a 32-bit
 * number), then a gzip stream of frames:
 *
 *   length (32 bits) · CRC-32 of the body (32 bits) · the body, one dag-cbor record
 *
 * `head` comes first and `end` last: it has the counts of what came before it, and the SHA-256 of all
 * frames before it. `failed` is the last word of a coordinator that could not go on. A reader takes
 * what comes for true only once `readBackup` has ended without an error. Rows are values and not
 * LevelDB's bytes: whoever reads them checks them as rows of the schema that `head` names.
 */

import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import * as cbor from '@ipld/dag-cbor'
import Type, { type Static } from 'typebox'
import { ErrorCodeSchema } from './call.ts'
import { HyperError, messageOf } from './errors.ts'
import { limits } from './limits.ts'
import { createParser } from './schema.ts'

const MAGIC = new TextEncoder().encode('HYPERBAK')
const FORM_VERSION = 1
const FRAME_HEAD_BYTES = 8

/** Bytes in front of the gzip stream. */
export const BACKUP_PREFIX_BYTES = MAGIC.byteLength + 4

const Count = Type.Integer({ minimum: 0 })
const AnyBytes = Type.Unsafe<Uint8Array>({})

const HeadSchema = Type.Object({
  type: Type.Literal('head'),
  /** Of the rows. */
  schema: Count,
  /** The version of hyper that made it, and when by its wall clock: for people. */
  version: Type.String(),
  made: Type.String(),
  /** Of the coordinator that made it. */
  epoch: Count,
})
export type BackupHead = Static<typeof HeadSchema>

const EndSchema = Type.Object({
  type: Type.Literal('end'),
  rows: Count,
  bodies: Count,
  files: Count,
  sha256: Type.String(),
})

const RecordSchema = Type.Union([
  HeadSchema,
  Type.Object({
    type: Type.Literal('rows'),
    sublevel: Type.String(),
    rows: Type.Array(Type.Tuple([Type.String(), Type.Unknown()])),
  }),
  Type.Object({
    type: Type.Literal('body'),
    kind: Type.String(),
    key: Type.String(),
    bytes: AnyBytes,
  }),
  /** Of the coordinator's home. */
  Type.Object({ type: Type.Literal('file'), name: Type.String(), bytes: AnyBytes }),
  Type.Object({ type: Type.Literal('failed'), code: ErrorCodeSchema, message: Type.String() }),
  EndSchema,
])
export type BackupRecord = Static<typeof RecordSchema>

export type BackupCounts = Pick<Static<typeof EndSchema>, 'rows' | 'bodies' | 'files'>

const parseRecord = createParser(RecordSchema, 'BACKUP_DAMAGED', 'backup')

export const backupPrefix = (): Uint8Array => {
  const prefix = Buffer.alloc(BACKUP_PREFIX_BYTES)
  prefix.set(MAGIC)
  prefix.writeUInt32BE(FORM_VERSION, MAGIC.byteLength)
  return prefix
}

/** Throws NOT_A_BACKUP of `what`, or STATE_TOO_NEW for a form that is not known yet. */
export const checkBackupPrefix = (prefix: Uint8Array, what: string): void => {
  const bytes = Buffer.from(prefix)
  if (
    bytes.byteLength < BACKUP_PREFIX_BYTES ||
    !bytes.subarray(0, MAGIC.byteLength).equals(MAGIC)
  ) {
    throw new HyperError('NOT_A_BACKUP', `${what} is no backup of a coordinator`)
  }
  if (bytes.readUInt32BE(MAGIC.byteLength) > FORM_VERSION) {
    throw new HyperError('STATE_TOO_NEW', 'the backup was made by a later version of hyper')
  }
}

const damaged = (why: string, options?: ErrorOptions): HyperError =>
  new HyperError('BACKUP_DAMAGED', `the backup ${why}`, options)

/** What both ends keep of the records that have passed. */
const createTally = () => {
  const hash = createHash('sha256')
  const counts = { rows: 0, bodies: 0, files: 0 }
  return {
    add(record: BackupRecord, frame: Uint8Array): void {
      hash.update(frame)
      if (record.type === 'rows') counts.rows += record.rows.length
      else if (record.type === 'body') counts.bodies += 1
      else if (record.type === 'file') counts.files += 1
    },
    end: (): Extract<BackupRecord, { type: 'end' }> => ({
      type: 'end',
      ...counts,
      sha256: hash.copy().digest('hex'),
    }),
  }
}

const frameOf = (record: BackupRecord): Uint8Array => {
  const body = cbor.encode(record)
  const frame = Buffer.allocUnsafe(FRAME_HEAD_BYTES + body.byteLength)
  frame.writeUInt32BE(body.byteLength, 0)
  frame.writeUInt32BE(crc32(body), 4)
  frame.set(body, FRAME_HEAD_BYTES)
  return frame
}

export interface BackupEncoder {
  frame(record: BackupRecord): Uint8Array
  /** The frame that makes it whole. */
  end(): Uint8Array
}

export const createBackupEncoder = (): BackupEncoder => {
  const tally = createTally()
  return {
    frame(record) {
      const frame = frameOf(record)
      tally.add(record, frame)
      return frame
    },
    end: () => frameOf(tally.end()),
  }
}

const decodeBody = (frame: Buffer): BackupRecord => {
  const body = frame.subarray(FRAME_HEAD_BYTES)
  if (frame.readUInt32BE(4) !== crc32(body)) throw damaged('does not match its checksums')
  let value: unknown
  try {
    value = cbor.decode(body)
  } catch (cause) {
    throw damaged(`cannot be read: ${messageOf(cause)}`, { cause })
  }
  return parseRecord(value)
}

/** Cuts a stream of bytes into whole frames, holding no more than one of them. */
const createFrameCutter = () => {
  let pending: Buffer[] = []
  let bytes = 0
  const join = (): Buffer => {
    const [first] = pending
    const joined = pending.length === 1 && first !== undefined ? first : Buffer.concat(pending)
    pending = [joined]
    return joined
  }
  return {
    add(chunk: Uint8Array): void {
      pending.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
      bytes += chunk.byteLength
    },
    /** Null while there is no whole one. */
    next(): Buffer | null {
      if (bytes < FRAME_HEAD_BYTES) return null
      const [first] = pending
      const head = first !== undefined && first.byteLength >= 4 ? first : join()
      const length = head.readUInt32BE(0)
      if (length > limits.backupFrameBytesMax) throw damaged('has a frame that is too long')
      if (bytes < FRAME_HEAD_BYTES + length) return null
      const joined = join()
      const frame = joined.subarray(0, FRAME_HEAD_BYTES + length)
      const rest = joined.subarray(frame.byteLength)
      pending = rest.byteLength === 0 ? [] : [rest]
      bytes = rest.byteLength
      return frame
    },
    isEmpty: () => bytes === 0,
  }
}

/**
 * The records of a backup, from its frames (decompressed). Ends only if it is whole and unchanged;
 * else it throws BACKUP_DAMAGED, or what made the coordinator give up.
 */
export async function* readBackup(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<BackupRecord> {
  const cutter = createFrameCutter()
  const tally = createTally()
  let isBegun = false
  let isEnded = false
  for await (const chunk of chunks) {
    cutter.add(chunk)
    for (let frame = cutter.next(); frame !== null; frame = cutter.next()) {
      if (isEnded) throw damaged('goes on after its end')
      const record = decodeBody(frame)
      if (record.type === 'failed') throw new HyperError(record.code, record.message)
      if ((record.type === 'head') === isBegun) throw damaged('has its head in the wrong place')
      isBegun = true
      if (record.type === 'end') {
        const expected = tally.end()
        if (!Buffer.from(frameOf(expected)).equals(frame)) throw damaged('is not what was written')
        isEnded = true
      } else {
        tally.add(record, frame)
      }
      yield record
    }
  }
  if (!isEnded || !cutter.isEmpty()) throw damaged('is cut off before its end')
}
