/** The numbers and bytes of LevelDB's files, one after the other. What is cut short throws. */

export interface ByteReader {
  isAtEnd(): boolean
  /** Little-endian, of up to four bytes. */
  number(bytes: number): number
  varint(): number
  bytes(count: number): Uint8Array
}

export const createByteReader = (all: Uint8Array, wrong: () => Error): ByteReader => {
  let at = 0
  const next = (): number => {
    const byte = all[at]
    if (byte === undefined) throw wrong()
    at += 1
    return byte
  }
  return {
    isAtEnd: () => at >= all.byteLength,
    number(bytes) {
      let value = 0
      for (let n = 0; n < bytes; n += 1) value += next() * 2 ** (8 * n)
      return value
    },
    varint() {
      let value = 0
      for (let shift = 0; ; shift += 7) {
        const byte = next()
        value += (byte & 0x7f) * 2 ** shift
        if (!Number.isSafeInteger(value)) throw wrong()
        if (byte < 0x80) return value
      }
    },
    bytes(count) {
      if (at + count > all.byteLength) throw wrong()
      at += count
      return all.subarray(at - count, at)
    },
  }
}
