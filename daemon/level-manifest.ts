/**
 * Which tables a LevelDB has, and how long each is. CURRENT names a MANIFEST; the MANIFEST is a log
 * of records, each a change of the list. What else is in the folder is not part of the database: a
 * crash leaves half a table behind.
 *
 *   log      blocks of 32 KB; in them pieces of records: checksum, length, kind, bytes. A crash may
 *            have cut off the last piece, or left zeros for it.
 *   record   tags, each with its values. Numbers are of variable length.
 *
 * LevelDB takes a piece that is longer than the file for one that was cut off. But a length has no
 * checksum: where the piece's checksum fits fewer bytes, it is the length that rotted, and LevelDB
 * would delete the tables of which it no longer knows.
 */

import { type FileHandle, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { HyperError, isMissing } from '../protocol/errors.ts'
import { type ByteReader, createByteReader } from './byte-reader.ts'
import { crc32c, maskCrc } from './crc32c.ts'

/** Bytes of each table, by its number. */
export type TableSizes = ReadonlyMap<number, number>

const BLOCK_BYTES = 32 * 1024
const HEADER_BYTES = 7
const KIND_AT = 6
const [NONE, WHOLE, FIRST, MIDDLE, LAST] = [0, 1, 2, 3, 4]

const wrong = (): HyperError => new HyperError('STATE_DAMAGED', 'the list of its tables is damaged')

/** Whether the checksum of the piece that begins at `at` fits some length that the file has. */
const fitsShorter = (bytes: Buffer, at: number): boolean => {
  const expected = bytes.readUInt32LE(at)
  let crc = 0
  for (let end = at + KIND_AT; end < bytes.byteLength; end += 1) {
    crc = crc32c(bytes, end, end + 1, crc)
    if (maskCrc(crc) === expected) return true
  }
  return false
}

interface Piece {
  readonly kind: number
  readonly bytes: Buffer
}

async function* piecesOf(log: FileHandle): AsyncGenerator<Piece> {
  const { size } = await log.stat()
  for (let offset = 0; offset < size; offset += BLOCK_BYTES) {
    const block = Buffer.alloc(Math.min(BLOCK_BYTES, size - offset))
    await log.read(block, 0, block.byteLength, offset)
    for (let at = 0; at + HEADER_BYTES <= block.byteLength; ) {
      const [length, kind] = [block.readUInt16LE(at + 4), block.readUInt8(at + KIND_AT)]
      if (length === 0 && kind === NONE) break
      const end = at + HEADER_BYTES + length
      if (end > block.byteLength) {
        const isLast = offset + block.byteLength === size
        if (isLast && !fitsShorter(block, at)) return
        throw wrong()
      }
      const crc = crc32c(block, at + KIND_AT, end)
      if (maskCrc(crc) !== block.readUInt32LE(at)) throw wrong()
      yield { kind, bytes: block.subarray(at + HEADER_BYTES, end) }
      at = end
    }
  }
}

async function* recordsOf(log: FileHandle): AsyncGenerator<Buffer> {
  let begun: Buffer[] = []
  for await (const { kind, bytes } of piecesOf(log)) {
    const isBegin = kind === WHOLE || kind === FIRST
    const isMore = (kind === MIDDLE || kind === LAST) && begun.length > 0
    if (!isBegin && !isMore) throw wrong()
    begun = isBegin ? [bytes] : [...begun, bytes]
    if (kind === WHOLE || kind === LAST) {
      yield Buffer.concat(begun)
      begun = []
    }
  }
}

/** Of a change: what stands behind each tag. */
const CHANGES: Readonly<Record<number, (from: ByteReader, sizes: Map<number, number>) => void>> = {
  /** The order of the keys. */
  1: (from) => void from.bytes(from.varint()),
  /** The log, the next file, the last change. */
  2: (from) => void from.varint(),
  3: (from) => void from.varint(),
  4: (from) => void from.varint(),
  /** How far compactions have come, on a level. */
  5: (from) => {
    from.varint()
    from.bytes(from.varint())
  },
  /** A table that is gone from a level. */
  6: (from, sizes) => {
    from.varint()
    sizes.delete(from.varint())
  },
  /** A table on a level: its number, its size, its first and last key. */
  7: (from, sizes) => {
    from.varint()
    const number = from.varint()
    sizes.set(number, from.varint())
    from.bytes(from.varint())
    from.bytes(from.varint())
  },
  /** The log before. */
  9: (from) => void from.varint(),
}

/** Undefined where there is no such file. */
const ifThere = <T>(reading: Promise<T>): Promise<T | undefined> =>
  reading.catch((error: unknown) => {
    if (isMissing(error)) return undefined
    throw error
  })

const sizesIn = async (manifest: FileHandle): Promise<TableSizes> => {
  const sizes = new Map<number, number>()
  for await (const record of recordsOf(manifest)) {
    const from = createByteReader(record, wrong)
    while (!from.isAtEnd()) {
      const change = CHANGES[from.varint()]
      if (change === undefined) throw wrong()
      change(from, sizes)
    }
  }
  return sizes
}

/** Undefined where no database was made yet. Throws STATE_DAMAGED. */
export const readTableSizes = async (path: string): Promise<TableSizes | undefined> => {
  const current = await ifThere(readFile(join(path, 'CURRENT'), 'latin1'))
  if (current === undefined) return undefined
  const [, name] = /^(MANIFEST-\d+)\n$/.exec(current) ?? []
  const manifest = name === undefined ? undefined : await ifThere(open(join(path, name)))
  if (manifest === undefined) throw wrong()
  return await sizesIn(manifest).finally(() => manifest.close())
}
