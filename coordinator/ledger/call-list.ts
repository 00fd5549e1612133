/**
 * The live calls of one function, in order of their sequence numbers: a page of the newest before
 * some number costs as much as the page, however many wait.
 *
 * Kept as a list of short lists, none of them empty. To find one is O(log n), to add at the end or
 * to remove costs no more than moving the items of one short list.
 */

import { assert } from '../../protocol/assert.ts'

interface Numbered {
  readonly seq: number
}

export interface CallList<T extends Numbered> extends Iterable<T> {
  readonly size: number
  /** With a number above all others. */
  append(item: T): void
  remove(item: T): void
  /** The newest first. */
  pageBefore(seq: number, limit: number): T[]
}

const shortMax = 256

/** How many have a number below `seq`, in a list in order. */
const countBelow = <T>(items: readonly T[], seqOf: (item: T) => number, seq: number): number => {
  let low = 0
  let high = items.length
  while (low < high) {
    const middle = (low + high) >> 1
    const item = items[middle]
    if (item !== undefined && seqOf(item) < seq) low = middle + 1
    else high = middle
  }
  return low
}

const ownSeq = (item: Numbered): number => item.seq
const firstSeq = (items: readonly Numbered[]): number => items[0]?.seq ?? 0

export const createCallList = <T extends Numbered>(): CallList<T> => {
  const lists: T[][] = []
  let size = 0
  /** Which short list a number belongs to. */
  const listOf = (seq: number): number => countBelow(lists, firstSeq, seq + 1) - 1
  return {
    get size() {
      return size
    },
    append(item) {
      const last = lists.at(-1)
      assert((last?.at(-1)?.seq ?? 0) < item.seq, 'a call is accepted with a higher number')
      if (last === undefined || last.length >= shortMax) lists.push([item])
      else last.push(item)
      size += 1
    },
    remove(item) {
      const at = listOf(item.seq)
      const list = lists[at] ?? []
      const within = countBelow(list, ownSeq, item.seq)
      assert(list[within] === item, 'a call that is removed is in its list')
      list.splice(within, 1)
      if (list.length === 0) lists.splice(at, 1)
      size -= 1
    },
    pageBefore(seq, limit) {
      const page: T[] = []
      let at = listOf(seq)
      let within = countBelow(lists[at] ?? [], ownSeq, seq)
      while (at >= 0 && page.length < limit) {
        within -= 1
        const item = lists[at]?.[within]
        if (item !== undefined) page.push(item)
        else {
          at -= 1
          within = lists[at]?.length ?? 0
        }
      }
      return page
    },
    *[Symbol.iterator]() {
      for (const list of lists) yield* list
    },
  }
}
