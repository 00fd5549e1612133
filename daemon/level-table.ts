/**
 * One table of LevelDB (`.ldb`), proven byte by byte. LevelDB does not check what it reads of one:
 * what rotted is a wrong row to it, or the end of the process by an assertion.
 *
 *   file    data blocks, a filter, the metaindex (where the filter is), the index (where each data
 *           block is, and its last key), a footer of 48 bytes (where metaindex and index are)
 *   block   bytes as they are or compressed; their kind; CRC-32C of both, masked. The footer has no
 *           checksum: it has to be followed by what it says.
 *
 * `checkTable` reads only, a part at a time. `emptyDamage` is for an operator who accepts the loss:
 * a damaged block becomes one without rows, and nothing else of the file changes. Without its index
 * or footer all of the table is lost; without its filter, nothing but time.
 */

import { constants, type FileHandle, open } from 'node:fs/promises'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { createByteReader } from './byte-reader.ts'
import { crc32c, maskCrc } from './crc32c.ts'
import { decodeSnappy } from './snappy.ts'

/** `bytes` without the five of kind and checksum that follow them. */
interface Block {
  readonly offset: number
  readonly bytes: number
}

export interface TableDamage {
  readonly path: string
  /** Of the table, as it was written. */
  readonly size: number
  /** For people. */
  readonly what: string
  /** Blocks to be emptied; undefined where all of the table is lost. */
  readonly blocks: readonly Block[] | undefined
}

const FILE_MODE = 0o600
const FOOTER_BYTES = 48
const MAGIC = Buffer.from('57fb808b247547db', 'hex')
const TRAILER_BYTES = 5
const WORD_BYTES = 4
/** What an empty one takes. */
export const TABLE_BYTES_MIN = FOOTER_BYTES + 2 * (WORD_BYTES + TRAILER_BYTES)
const [PLAIN, SNAPPY] = [0, 1]

/** No such file; a sector of the disk that cannot be read. */
const LOST = ['ENOENT', 'EIO']

const isErrno = (error: unknown, codes: readonly string[]): boolean =>
  error instanceof Error &&
  'code' in error &&
  typeof error.code === 'string' &&
  codes.includes(error.code)

const damaged = (what: string): HyperError => new HyperError('STATE_DAMAGED', what)
const endOf = ({ offset, bytes }: Block): number => offset + bytes + TRAILER_BYTES

const readBytes = async (
  file: FileHandle,
  offset: number,
  bytes: number,
  room = Buffer.alloc(0),
): Promise<Buffer> => {
  const buffer = bytes <= room.byteLength ? room.subarray(0, bytes) : Buffer.allocUnsafe(bytes)
  const { bytesRead } = await file.read(buffer, 0, bytes, offset)
  if (bytesRead < bytes) throw damaged('it is cut short')
  return buffer
}

/** Whether the block that stands at `at` of `buffer` is as it was written. */
const isWhole = (buffer: Buffer, at: number, { bytes }: Block): boolean =>
  maskCrc(crc32c(buffer, at, at + bytes + 1)) === buffer.readUInt32LE(at + bytes + 1)

/** The values in a block of rows. */
const valuesOf = (block: Uint8Array): Uint8Array[] => {
  const wrong = (): HyperError => damaged('its index cannot be read')
  if (block.byteLength < WORD_BYTES) throw wrong()
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
  const restarts = view.getUint32(block.byteLength - WORD_BYTES, true)
  if (restarts === 0) return []
  const end = block.byteLength - (1 + restarts) * WORD_BYTES
  if (end < 0) throw wrong()
  const from = createByteReader(block.subarray(0, end), wrong)
  const values: Uint8Array[] = []
  while (!from.isAtEnd()) {
    from.varint()
    const [keyBytes, valueBytes] = [from.varint(), from.varint()]
    from.bytes(keyBytes)
    values.push(from.bytes(valueBytes))
  }
  return values
}

const createHandleReader = (bytes: Uint8Array) => {
  const from = createByteReader(bytes, () => damaged('a place in it cannot be read'))
  return (): Block => ({ offset: from.varint(), bytes: from.varint() })
}

/** The blocks that a block of the index or metaindex tells of; undefined where it is damaged. */
const readHandles = async (
  file: FileHandle,
  block: Block,
  size: number,
): Promise<readonly Block[] | undefined> => {
  const buffer = await readBytes(file, block.offset, block.bytes + TRAILER_BYTES)
  if (!isWhole(buffer, 0, block)) return undefined
  const stored = buffer.subarray(0, block.bytes)
  const kind = buffer[block.bytes]
  if (kind !== PLAIN && kind !== SNAPPY) return undefined
  const plain = kind === PLAIN ? stored : decodeSnappy(stored, limits.tableIndexBytesMax)
  const handles = valuesOf(plain).map((value) => createHandleReader(value)())
  return handles.every((handle) => endOf(handle) <= size) ? handles : undefined
}

const varint = (value: number): number[] =>
  value < 0x80 ? [value] : [(value % 0x80) | 0x80, ...varint(Math.floor(value / 0x80))]

const footerOf = (...blocks: readonly [metaindex: Block, index: Block]): Buffer => {
  const footer = Buffer.alloc(FOOTER_BYTES)
  footer.set(blocks.flatMap(({ offset, bytes }) => [...varint(offset), ...varint(bytes)]))
  footer.set(MAGIC, FOOTER_BYTES - MAGIC.byteLength)
  return footer
}

/** Where metaindex and index are. They stand one after the other, before the footer. */
const readFooter = async (file: FileHandle, size: number): Promise<readonly [Block, Block]> => {
  const footer = await readBytes(file, Math.max(0, size - FOOTER_BYTES), FOOTER_BYTES)
  const next = createHandleReader(footer)
  const [metaindex, index] = [next(), next()]
  const isFollowed = endOf(metaindex) === index.offset && endOf(index) === size - FOOTER_BYTES
  if (!isFollowed || !footer.equals(footerOf(metaindex, index)))
    throw damaged('its footer is damaged')
  return [metaindex, index]
}

/** Those of the blocks that are damaged; neighbours are read together. */
const findDamaged = async (file: FileHandle, blocks: readonly Block[]): Promise<Block[]> => {
  const room = Buffer.allocUnsafe(limits.tablePartBytes)
  const found: Block[] = []
  let part: Block[] = []
  const checkPart = async (): Promise<void> => {
    const [first, last] = [part[0], part.at(-1)]
    if (first === undefined || last === undefined) return
    const buffer = await readBytes(file, first.offset, endOf(last) - first.offset, room)
    found.push(...part.filter((block) => !isWhole(buffer, block.offset - first.offset, block)))
    part = []
  }
  for (const block of blocks) {
    const [first, last] = [part[0] ?? block, part.at(-1)]
    const isNext = last === undefined || endOf(last) === block.offset
    if (!isNext || endOf(block) - first.offset > room.byteLength) await checkPart()
    part.push(block)
  }
  await checkPart()
  return found
}

/** What is wrong, and the blocks to be emptied for it. Throws STATE_DAMAGED if all is lost. */
const checkBlocks = async (
  file: FileHandle,
  size: number,
): Promise<Pick<TableDamage, 'what' | 'blocks'> | undefined> => {
  const [metaindex, index] = await readFooter(file, size)
  const rows = await readHandles(file, index, size)
  if (rows === undefined) throw damaged('its index is damaged')
  const filters = await readHandles(file, metaindex, size)
  const isFilterLost = filters === undefined || (await findDamaged(file, filters)).length > 0
  const lost = await findDamaged(file, rows)
  if (lost.length === 0 && !isFilterLost) return undefined
  const parts = [
    ...(lost.length > 0 ? [`${lost.length} of its ${rows.length} blocks`] : []),
    ...(isFilterLost ? ['its filter'] : []),
  ]
  const blocks = isFilterLost ? [...lost, metaindex] : lost
  return { what: `damaged in ${parts.join(' and ')}`, blocks }
}

/** Undefined for a table that is as it was written. `size` is what the MANIFEST says of it. */
export const checkTable = async (path: string, size: number): Promise<TableDamage | undefined> => {
  let file: FileHandle | undefined
  try {
    file = await open(path)
    const found = await checkBlocks(file, size)
    return found && { path, size, ...found }
  } catch (error) {
    const isDamage = error instanceof HyperError || isErrno(error, LOST)
    if (!isDamage) throw error
    return { path, size, blocks: undefined, what: messageOf(error) }
  } finally {
    await file?.close()
  }
}

/** A block of so many bytes that has no rows: its last word counts none. */
const emptyBlock = (bytes: number): Buffer => {
  const block = Buffer.alloc(bytes + TRAILER_BYTES)
  block.writeUInt32LE(maskCrc(crc32c(block, 0, bytes + 1)), bytes + 1)
  return block
}

/** The end of a table of `size` bytes whose index has no rows. */
const emptyEnd = (size: number): { readonly offset: number; readonly bytes: Buffer } => {
  const offset = size - TABLE_BYTES_MIN
  const metaindex = { offset, bytes: WORD_BYTES }
  const index = { offset: endOf(metaindex), bytes: WORD_BYTES }
  const bytes = [emptyBlock(WORD_BYTES), emptyBlock(WORD_BYTES), footerOf(metaindex, index)]
  return { offset, bytes: Buffer.concat(bytes) }
}

/** Durable when it resolves, but for the name of a file that was missing. */
export const emptyDamage = async ({ path, size, blocks }: TableDamage): Promise<void> => {
  const file = await open(path, constants.O_RDWR | constants.O_CREAT, FILE_MODE)
  try {
    const writes = blocks?.map(({ offset, bytes }) => ({ offset, bytes: emptyBlock(bytes) }))
    for (const { offset, bytes } of writes ?? [emptyEnd(size)]) {
      await file.write(bytes, 0, bytes.byteLength, offset)
    }
    await file.datasync()
  } finally {
    await file.close()
  }
}
