/** A binary heap: the least element by `order` comes first. O(log n) to add and to take. */

export interface Heap<T> {
  readonly size: number
  peek(): T | undefined
  push(item: T): void
  pop(): T | undefined
  /** All, in no order. */
  items(): Iterable<T>
}

export const createHeap = <T>(order: (item: T) => number): Heap<T> => {
  const items: T[] = []
  const before = (a: number, b: number): boolean => {
    const left = items[a]
    const right = items[b]
    return left !== undefined && right !== undefined && order(left) < order(right)
  }
  const swap = (a: number, b: number): void => {
    const left = items[a]
    const right = items[b]
    if (left === undefined || right === undefined) return
    items[a] = right
    items[b] = left
  }
  const rise = (start: number): void => {
    for (let at = start; at > 0; ) {
      const parent = (at - 1) >> 1
      if (!before(at, parent)) return
      swap(at, parent)
      at = parent
    }
  }
  const sink = (): void => {
    for (let at = 0; ; ) {
      const left = 2 * at + 1
      const least = [left, left + 1].reduce(
        (best, child) => (before(child, best) ? child : best),
        at,
      )
      if (least === at) return
      swap(at, least)
      at = least
    }
  }
  return {
    get size() {
      return items.length
    },
    peek: () => items[0],
    items: () => items.values(),
    push(item) {
      items.push(item)
      rise(items.length - 1)
    },
    pop() {
      const first = items[0]
      const last = items.pop()
      if (items.length > 0 && last !== undefined) {
        items[0] = last
        sink()
      }
      return first
    },
  }
}
