/**
 * A binary heap: the item that goes before all others comes first. O(log n) to add, to take, and to
 * take out an item from the middle, for whoever keeps the place that `onMove` told last.
 */

export interface Heap<T> {
  readonly size: number
  peek(): T | undefined
  push(item: T): void
  pop(): T | undefined
  /** Takes out the item at that place. */
  removeAt(at: number): void
  /** All, in no order. */
  items(): Iterable<T>
}

const ignoreMove = (): void => undefined

export const createHeap = <T>(
  isBefore: (left: T, right: T) => boolean,
  onMove: (item: T, at: number) => void = ignoreMove,
): Heap<T> => {
  const items: T[] = []
  const set = (at: number, item: T): void => {
    items[at] = item
    onMove(item, at)
  }
  const rise = (start: number, item: T): void => {
    let at = start
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = items[above]
      if (parent === undefined || !isBefore(item, parent)) break
      set(at, parent)
      at = above
    }
    set(at, item)
  }
  /** Where the lesser of two children stands. */
  const lesserChild = (at: number): number => {
    const left = 2 * at + 1
    const one = items[left]
    const other = items[left + 1]
    return one !== undefined && other !== undefined && isBefore(other, one) ? left + 1 : left
  }
  const sink = (start: number, item: T): void => {
    let at = start
    for (;;) {
      const below = lesserChild(at)
      const child = items[below]
      if (child === undefined || !isBefore(child, item)) break
      set(at, child)
      at = below
    }
    set(at, item)
  }
  const removeAt = (at: number): void => {
    const last = items.pop()
    if (last === undefined || at >= items.length) return
    const above = items[(at - 1) >> 1]
    if (at > 0 && above !== undefined && isBefore(last, above)) rise(at, last)
    else sink(at, last)
  }
  return {
    get size() {
      return items.length
    },
    peek: () => items[0],
    items: () => items.values(),
    push(item) {
      items.push(item)
      rise(items.length - 1, item)
    },
    pop() {
      const first = items[0]
      removeAt(0)
      return first
    },
    removeAt,
  }
}
