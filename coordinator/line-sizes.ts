/**
 * How large each line of a log is. Lines come at one end and go at the other, and there are a million
 * of them: a plain list, eight bytes each, with what went cut off when it is half of the list. Where
 * lines were lost (an operator may accept that) the numbers between have no size.
 */

export interface LineSizes {
  /** Of a number above all that came before. */
  append(seq: number, bytes: number): void
  /** 0 where there is no such line. */
  bytesOf(seq: number): number
  dropFirst(): void
  /** Number of the oldest; `last() + 1` where there is none. */
  first(): number
  /** Number of the newest that ever came; 0 before the first. */
  last(): number
}

export const createLineSizes = (): LineSizes => {
  let sizes: number[] = []
  /** So many at the head of the list are gone. */
  let gone = 0
  /** Number of the line that stands, or would stand, at the head of the list. */
  let base = 1

  const skipGone = (): void => {
    while (gone < sizes.length && sizes[gone] === 0) gone += 1
    if (gone * 2 < sizes.length) return
    sizes = sizes.slice(gone)
    base += gone
    gone = 0
  }

  return {
    append(seq, bytes) {
      if (gone === sizes.length) {
        sizes = []
        gone = 0
        base = seq
      }
      while (base + sizes.length < seq) sizes.push(0)
      sizes.push(bytes)
    },
    bytesOf: (seq) => sizes[seq - base] ?? 0,
    dropFirst() {
      sizes[gone] = 0
      skipGone()
    },
    first: () => base + gone,
    last: () => base + sizes.length - 1,
  }
}
