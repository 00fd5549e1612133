/**
 * Which rows of a table are live, in memory: for each the hash of its key and the checksum of its
 * value, and the sum over all of them (sums.ts). It lets a commit keep the sums without reading what
 * stood there before. LevelDB must not be asked: every look-up of a key that is not there counts
 * against one of its files, and a few hundred of them have that file written anew.
 *
 * 8 or 12 bytes a slot, at most three quarters of them full: under 24 bytes a row, no text, nothing
 * for the garbage collector to walk. Cut into shards, so that growing never takes a noticeable pause.
 * Two keys of one hash of 64 bits would be one row here; among ten million rows that is one chance
 * in 400,000.
 */

import type { Sum } from './sums.ts'

export interface RowIndex {
  /** `checksum` is that of the value as stored; of a table whose rows count by their keys, 0. */
  put(key: string, checksum: number): void
  delete(key: string): void
  has(key: string): boolean
  sum(): Sum
}

const SHARDS = 256
const SLOTS_MIN = 8

/** Slots of `width` words: two of the key's hash (both 0: empty), and the checksum if it counts. */
const createShard = (width: 2 | 3) => {
  let slots = SLOTS_MIN
  let words = new Uint32Array(slots * width)
  let used = 0

  /** The slot of a hash, or the empty one where it would go. */
  const find = (low: number, high: number): number => {
    for (let slot = low & (slots - 1); ; slot = (slot + 1) & (slots - 1)) {
      const at = slot * width
      const isEmpty = words[at] === 0 && words[at + 1] === 0
      if (isEmpty || (words[at] === low && words[at + 1] === high)) return slot
    }
  }

  const isEmpty = (slot: number): boolean =>
    words[slot * width] === 0 && words[slot * width + 1] === 0

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
    /** The checksum, or undefined where there is no such row. */
    get(low: number, high: number): number | undefined {
      const slot = find(low, high)
      if (isEmpty(slot)) return undefined
      return width === 3 ? words[slot * width + 2] : 0
    },
    put(low: number, high: number, checksum: number): void {
      let slot = find(low, high)
      if (isEmpty(slot)) {
        used += 1
        if (4 * used > 3 * slots) {
          grow()
          slot = find(low, high)
        }
      }
      words[slot * width] = low
      words[slot * width + 1] = high
      if (width === 3) words[slot * width + 2] = checksum
    },
    /** Closes the gap: a row further on may stand there only because this place was taken. */
    delete(low: number, high: number): void {
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

type Shard = ReturnType<typeof createShard>

export const createRowIndex = (isByValue: boolean): RowIndex => {
  const shards: Shard[] = []
  let [count, sumLow, sumHigh] = [0, 0, 0]
  /** Of the last key hashed. */
  let [low, high] = [0, 0]

  const hash = (key: string): Shard => {
    let a = 0x9e3779b9
    let b = 0x5bd1e995
    for (let at = 0; at < key.length; at += 1) {
      const code = key.charCodeAt(at)
      a = Math.imul(a ^ code, 0x01000193)
      b = Math.imul((b << 13) | (b >>> 19), 0x2545f491) ^ code
    }
    a = Math.imul(a ^ (a >>> 15), 0x7feb352d)
    b = Math.imul(b ^ (b >>> 16), 0x846ca68b)
    low = (a ^ (b >>> 13)) >>> 0
    high = (b ^ (a >>> 17)) >>> 0
    if (low === 0 && high === 0) low = 1
    const shard = shards[high % SHARDS] ?? createShard(isByValue ? 3 : 2)
    shards[high % SHARDS] = shard
    return shard
  }

  /** Adds or takes away the share of the row that was hashed last. */
  const change = (sign: 1 | -1, checksum: number): void => {
    const mixed = Math.imul(checksum ^ (checksum >>> 16), 0x45d9f3b)
    count += sign
    sumLow = (sumLow + sign * ((low ^ mixed) >>> 0)) >>> 0
    sumHigh = (sumHigh + sign * ((high ^ Math.imul(mixed ^ low, 0x27d4eb2f)) >>> 0)) >>> 0
  }

  return {
    put(key, checksum) {
      const shard = hash(key)
      const former = shard.get(low, high)
      if (former !== undefined) change(-1, former)
      const counted = isByValue ? checksum : 0
      shard.put(low, high, counted)
      change(1, counted)
    },
    delete(key) {
      const shard = hash(key)
      const former = shard.get(low, high)
      if (former === undefined) return
      change(-1, former)
      shard.delete(low, high)
    },
    has(key) {
      return hash(key).get(low, high) !== undefined
    },
    sum: () => ({ count, low: sumLow, high: sumHigh }),
  }
}
