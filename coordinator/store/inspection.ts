/**
 * What is on a drive, for comparing it with the sums: the rows of a table, and the files beside their
 * pointers. Reads only; what follows from a difference is decided by others.
 */

import { blobFile } from './bodies.ts'
import type { Drive, TextRow } from './drive.ts'
import { type ReadPage, readPages } from './pages.ts'
import { rowChecksum } from './row-form.ts'
import { createRowIndex, type RowIndex } from './row-index.ts'
import { isByValue, isSummed } from './sums.ts'
import type { SummedTable } from './tables.ts'

interface Reading {
  /** How many rows there should be. */
  readonly expected?: number
  /** Sees them as they pass. */
  readonly onRow?: (row: TextRow) => void
}

/** All rows of a table. */
export const indexTable = async (
  readPage: ReadPage<TextRow>,
  table: SummedTable,
  { expected = 0, onRow = () => undefined }: Reading = {},
): Promise<RowIndex> => {
  const index = createRowIndex(isByValue(table), expected)
  const range = { keysOnly: !isByValue(table) }
  for await (const rows of readPages(readPage, table, range, { isAhead: true })) {
    for (const row of rows) {
      const [key, text] = row
      if (isSummed(table, key)) index.put(key, isByValue(table) ? rowChecksum(text) : 0)
      onRow(row)
    }
  }
  return index
}

interface Blobs {
  readonly index: RowIndex
  readonly missing: number
  readonly highestCommit: number
}

/**
 * The rows of `blob`, and how many of them have no file. Files that no row points to are told in
 * parts. Throws STATE_DAMAGED for a pointer that cannot be read.
 */
export const indexBlobs = async (
  drive: Drive,
  onStray: (names: readonly string[]) => void,
): Promise<Blobs> => {
  const names = createRowIndex(false)
  let highestCommit = 0
  const onRow = ([key, text]: TextRow): void => {
    const { name, commit } = blobFile(key, text)
    names.put(name, 0)
    highestCommit = Math.max(highestCommit, commit)
  }
  const index = await indexTable(drive.textPage, 'blob', { onRow })
  let found = 0
  for await (const listed of drive.listFiles()) {
    const known = listed.filter((name) => names.has(name))
    found += known.length
    if (known.length < listed.length) onStray(listed.filter((name) => !names.has(name)))
  }
  return { index, missing: names.sum().count - found, highestCommit }
}
