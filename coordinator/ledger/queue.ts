/**
 * The calls of one account that wait, in order of their sequence numbers.
 *
 * New calls come with growing numbers and go to the end of an array, whose taken front is cut off
 * when it is half of it; a call that returns (its lease was lost, its pause is over) keeps its
 * number and waits in a heap beside it, so the head is the lesser of two. A call
 * that ends while it waits is left in place and skipped when it reaches the head: it is recognised
 * by `isWaiting`. Every operation is O(1) on the average, or O(log returned); `countBefore` is
 * O(log waiting).
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
}

const compactAt = 1024

export const createQueue = <T extends Queued>(isWaiting: (item: T) => boolean): Queue<T> => {
  let fresh: T[] = []
  let first = 0
  const returned = createHeap<T>((item) => item.seq)

  const skipEnded = (): void => {
    for (let item = fresh[first]; item !== undefined && !isWaiting(item); item = fresh[first]) {
      first += 1
    }
    for (
      let item = returned.peek();
      item !== undefined && !isWaiting(item);
      item = returned.peek()
    ) {
      returned.pop()
    }
    // The consumed front is given back in halves, so that its cost is spread over the takes.
    if (first >= compactAt && first * 2 >= fresh.length) {
      fresh = fresh.slice(first)
      first = 0
    }
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
      if (item !== undefined) first += 1
      return item
    },
  }
}
