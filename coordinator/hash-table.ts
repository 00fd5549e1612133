/**
 * Numbers by text, in memory, by the million: an open-addressed table of 64-bit hashes, each with one
 * number of 32 bits. No text is kept and nothing is for the garbage collector to walk: 12 bytes a
 * slot, three quarters to three eighths of them full, so 16 to 32 bytes an entry (11 to 21 without
 * numbers).
 *
 * Cut into shards, so that growing never takes a noticeable pause. Texts that differ in their last
 * characters only lie in one shard: numbers that come one after the other, as at a start, find it in
 * the processor's cache. Two texts of one hash are one entry here; among ten million that is one
 * chance in 400,000.
 */

const SHARDS = 256
const SLOTS_MIN = 8
const FULL = 3 / 4
/** So many last characters do not choose the shard: a thousand numbers lie together. */
const ENDING = 3

/** Two unsigned words, never both 0. */
export interface Bits {
  readonly low: number
  readonly high: number
}

/** Of a text; `stem`, one word, of the text without its ending. */
interface Hash extends Bits {
  readonly stem: number
}

interface Fingerprint extends Hash {
  readonly print: Bits
}

export interface HashTable {
  get(hash: Hash): number | undefined
  /** Gives the number that stood there. */
  set(hash: Hash, value: number): number | undefined
  delete(hash: Hash): void
}

/**
 * The bits of a text, mixed twice in one pass: `low`, `high` and `stem` from the two words of `key`,
 * which makes it hard to choose texts of one hash for whoever does not know them; and `print`, 64 bits
 * that are the same whatever the key. The same object each time, filled anew: one for each caller.
 */
export const createHasher = ([keyA = 0, keyB = 0]: Iterable<number>): ((
  text: string,
) => Fingerprint) => {
  const hash = { low: 0, high: 0, stem: 0, print: { low: 0, high: 0 } }
  return (text) => {
    let a = keyA
    let b = keyB
    let c = 0x9e3779b9
    let d = 0x5bd1e995
    const stemLength = text.length - ENDING
    hash.stem = 0
    for (let at = 0; at < text.length; at += 1) {
      if (at === stemLength) hash.stem = (a ^ (a >>> 16)) >>> 0
      const code = text.charCodeAt(at)
      a = Math.imul(a ^ code, 0x01000193)
      b = Math.imul((b << 13) | (b >>> 19), 0x2545f491) ^ code
      c = Math.imul(c ^ code, 0x01000193)
      d = Math.imul((d << 13) | (d >>> 19), 0x2545f491) ^ code
    }
    a = Math.imul(a ^ (a >>> 15), 0x7feb352d)
    b = Math.imul(b ^ (b >>> 16), 0x846ca68b)
    hash.low = (a ^ (b >>> 13)) >>> 0
    hash.high = (b ^ (a >>> 17)) >>> 0
    if (hash.low === 0 && hash.high === 0) hash.low = 1
    c = Math.imul(c ^ (c >>> 15), 0x7feb352d)
    d = Math.imul(d ^ (d >>> 16), 0x846ca68b)
    hash.print.low = (c ^ (d >>> 13)) >>> 0
    hash.print.high = (d ^ (c >>> 17)) >>> 0
    if (hash.print.low === 0 && hash.print.high === 0) hash.print.low = 1
    return hash
  }
}

/** Slots of `width` words: the two of the hash (both 0: empty), and the number if there is one. */
const createShard = (width: 2 | 3, expected: number): HashTable => {
  let slots = SLOTS_MIN
  while (slots * FULL < expected) slots *= 2
  let words = new Uint32Array(slots * width)
  let used = 0

  const isEmpty = (slot: number): boolean =>
    words[slot * width] === 0 && words[slot * width + 1] === 0

  /** The slot of a hash, or the empty one where it would go. */
  const find = (low: number, high: number): number => {
    for (let slot = low & (slots - 1); ; slot = (slot + 1) & (slots - 1)) {
      if (isEmpty(slot) || (words[slot * width] === low && words[slot * width + 1] === high)) {
        return slot
      }
    }
  }

  const numberAt = (slot: number): number | undefined => {
    if (isEmpty(slot)) return undefined
    return width === 3 ? words[slot * width + 2] : 0
  }

  const copy = (from: Uint32Array, slot: number, to: number): void => {
    for (let word = 0; word < width; word += 1) {
      words[to * width + word] = from[slot * width + word] ?? 0
    }
  }

  const grow = (): void => {
    const before = words
    const count = slots
    slots *= 2
    words = new Uint32Array(slots * width)
    for (let slot = 0; slot < count; slot += 1) {
      const low = before[slot * width] ?? 0
      const high = before[slot * width + 1] ?? 0
      if (low !== 0 || high !== 0) copy(before, slot, find(low, high))
    }
  }

  return {
    get: ({ low, high }) => numberAt(find(low, high)),
    set({ low, high }, value) {
      let slot = find(low, high)
      const former = numberAt(slot)
      if (former === undefined) {
        used += 1
        if (used > slots * FULL) {
          grow()
          slot = find(low, high)
        }
        words[slot * width] = low
        words[slot * width + 1] = high
      }
      if (width === 3) words[slot * width + 2] = value
      return former
    },
    /** Closes the gap: an entry further on may stand there only because this place was taken. */
    delete({ low, high }) {
      let gap = find(low, high)
      if (isEmpty(gap)) return
      used -= 1
      for (let slot = (gap + 1) & (slots - 1); !isEmpty(slot); slot = (slot + 1) & (slots - 1)) {
        const home = (words[slot * width] ?? 0) & (slots - 1)
        const distance = (slot - home) & (slots - 1)
        if (distance < ((slot - gap) & (slots - 1))) continue
        copy(words, slot, gap)
        gap = slot
      }
      words.fill(0, gap * width, (gap + 1) * width)
    },
  }
}

interface Shape {
  /** Without, every entry's number is 0. */
  readonly hasNumbers: boolean
  /** Room is made for so many at once. */
  readonly expected?: number
}

export const createHashTable = ({ hasNumbers, expected = 0 }: Shape): HashTable => {
  const shards: HashTable[] = []
  const share = expected / SHARDS
  const shardOf = ({ stem }: Hash): HashTable => {
    const shard = shards[stem % SHARDS] ?? createShard(hasNumbers ? 3 : 2, share)
    shards[stem % SHARDS] = shard
    return shard
  }
  return {
    get: (hash) => shardOf(hash).get(hash),
    set: (hash, value) => shardOf(hash).set(hash, value),
    delete: (hash) => shardOf(hash).delete(hash),
  }
}
