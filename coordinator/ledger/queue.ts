/**
 * The calls of one account that wait, in order of their sequence numbers.
 *
 * New calls come with growing numbers and go to the end of an array; a call that returns (its lease
 * was lost, its pause is over) keeps its number and waits in a heap beside it, so the head is the
 * lesser of two. A call that ends while it waits is left where it stands and skipped when it
 * reaches the head: it is recognised by `isWaiting`. What was taken or has ended is let go of at
 * once, or when it is as much as what waits. Every operation is O(1) on the average, or
 * O(log returned); `countBefore` is O(log waiting).
 */

import { createHeap } from './heap.ts'

export interface Queued {
  readonly seq: number
}

export interface Queue<T extends Queued> {
  /** With a number above all before it. */
  append(item: T): void
  /** A call that was taken comes back to its place. */
  giveBack(item: T): void
  head(): T | undefined
  /** How many stand before `seq`, at the most: ended ones that were not yet skipped count. */
  countBefore(seq: number): number
  /** Removes the head. */
  take(): T | undefined
  /** One that waits here has ended: it is not waiting any more. */
  leave(): void
}

const compactAt = 1024

export const createQueue = <T extends Queued>(isWaiting: (item: T) => boolean): Queue<T> => {
  /** Taken ones are undefined, so that nothing holds them. */
  let fresh: (T | undefined)[] = []
  let first = 0
  let returned = createHeap<T>((left, right) => left.seq < right.seq)
  let ended = 0

  /** The front that was consumed is given back in halves: its cost is spread over the takes. */
  const dropFront = (): void => {
    if (first < compactAt || first * 2 < fresh.length) return
    fresh = fresh.slice(first)
    first = 0
  }

  const skipEnded = (): void => {
    while (first < fresh.length) {
      const item = fresh[first]
      if (item !== undefined && isWaiting(item)) break
      fresh[first] = undefined
      first += 1
      ended -= 1
    }
    for (let item = returned.peek(); item !== undefined && !isWaiting(item); ) {
      returned.pop()
      ended -= 1
      item = returned.peek()
    }
    dropFront()
  }

  /** The newest that have ended hold nothing up: nobody stands behind them. */
  const dropTail = (): void => {
    for (let last = fresh.at(-1); fresh.length > first && last !== undefined; ) {
      if (isWaiting(last)) return
      fresh.pop()
      ended -= 1
      last = fresh.at(-1)
    }
  }

  /** Those that ended in the middle, where no head comes by while the first one waits. */
  const dropEnded = (): void => {
    fresh = fresh.slice(first).filter((item) => item !== undefined && isWaiting(item))
    first = 0
    const former = returned
    returned = createHeap<T>((left, right) => left.seq < right.seq)
    for (const item of former.items()) if (isWaiting(item)) returned.push(item)
    ended = 0
  }

  const isReturnedFirst = (): boolean => {
    const back = returned.peek()
    const front = fresh[first]
    return back !== undefined && (front === undefined || back.seq < front.seq)
  }

  return {
    append(item) {
      fresh.push(item)
    },
    giveBack(item) {
      returned.push(item)
    },
    countBefore(seq) {
      let low = first
      let high = fresh.length
      while (low < high) {
        const middle = (low + high) >> 1
        if ((fresh[middle]?.seq ?? seq) < seq) low = middle + 1
        else high = middle
      }
      return low - first + returned.size
    },
    head() {
      skipEnded()
      return isReturnedFirst() ? returned.peek() : fresh[first]
    },
    take() {
      skipEnded()
      if (isReturnedFirst()) return returned.pop()
      const item = fresh[first]
      if (item === undefined) return undefined
      fresh[first] = undefined
      first += 1
      return item
    },
    leave() {
      ended += 1
      dropTail()
      if (ended >= compactAt && ended * 2 >= fresh.length - first + returned.size) dropEnded()
    },
  }
}
