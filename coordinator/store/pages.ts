/**
 * All rows of a range, page after page: each page is asked for from where the last one ended, so
 * nothing is pinned on the disk while the reader is slow, and a read that failed can be made again.
 * Rows that come or go meanwhile may be seen or not.
 *
 * With `isAhead` the disk reads the next page while the reader works at this one: for a table that is
 * read whole.
 */

import type { PageRange } from './drive.ts'
import type { Table } from './tables.ts'

export type ReadPage<Row> = (table: Table, range: PageRange) => Promise<readonly Row[]>

export async function* readPages<Row extends readonly [key: string, value: unknown]>(
  readPage: ReadPage<Row>,
  table: Table,
  range: PageRange = {},
  { isAhead = false } = {},
): AsyncGenerator<readonly Row[]> {
  let rest = range
  let next: Promise<readonly Row[]> | null = null
  for (;;) {
    if (rest.limit !== undefined && rest.limit <= 0) return
    const rows = await (next ?? readPage(table, rest))
    const last = rows.at(-1)
    if (last === undefined) return
    rest = range.reverse === true ? { ...rest, lt: last[0] } : { ...rest, gt: last[0] }
    if (rest.limit !== undefined) rest = { ...rest, limit: rest.limit - rows.length }
    if (isAhead) {
      next = readPage(table, rest)
      // Of a reader that has left nobody asks how its last page went.
      next.catch(() => undefined)
    }
    yield rows
  }
}
