/**
 * Writes a tar archive (ustar) in memory, always the same bytes for the same entries: owner 0,
 * time 0. For archives of a few files; names of at most 99 characters.
 */

const BLOCK_BYTES = 512
const NAME_CHARS_MAX = 99

export interface TarEntry {
  readonly name: string
  readonly mode: number
  readonly content: Uint8Array
}

const octal = (value: number, chars: number): string =>
  `${value.toString(8).padStart(chars - 1, '0')}\0`

const encodeHead = (entry: TarEntry): Buffer => {
  if (entry.name.length > NAME_CHARS_MAX) throw new RangeError(`too long for a tar: ${entry.name}`)
  const head = Buffer.alloc(BLOCK_BYTES)
  head.write(entry.name, 0, 'latin1')
  head.write(octal(entry.mode, 8), 100, 'latin1')
  head.write(octal(0, 8), 108, 'latin1')
  head.write(octal(0, 8), 116, 'latin1')
  head.write(octal(entry.content.byteLength, 12), 124, 'latin1')
  head.write(octal(0, 12), 136, 'latin1')
  head.write(' '.repeat(8), 148, 'latin1')
  head.write('0', 156, 'latin1')
  head.write('ustar\x0000', 257, 'latin1')
  // The checksum counts its own field as spaces.
  const sum = head.reduce((total, byte) => total + byte, 0)
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return head
}

const padding = (bytes: number): Buffer =>
  Buffer.alloc((BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES)

export const encodeTar = (entries: readonly TarEntry[]): Buffer =>
  Buffer.concat([
    ...entries.flatMap((entry) => [
      encodeHead(entry),
      entry.content,
      padding(entry.content.byteLength),
    ]),
    Buffer.alloc(2 * BLOCK_BYTES),
  ])

const FILE = '0'
const SIZE_AT = 124
const SIZE_CHARS = 12
const TYPE_AT = 156

/** The content of an archive's first entry, where that is a file. */
export const firstFileOf = (archive: Buffer): Buffer | null => {
  if (archive.byteLength < BLOCK_BYTES) return null
  const type = archive.toString('latin1', TYPE_AT, TYPE_AT + 1)
  const size = Number.parseInt(archive.toString('latin1', SIZE_AT, SIZE_AT + SIZE_CHARS), 8)
  if (type !== FILE || archive.byteLength < BLOCK_BYTES + size) return null
  return archive.subarray(BLOCK_BYTES, BLOCK_BYTES + size)
}
