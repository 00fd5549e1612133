/**
 * Whether what is on a drive is what the sums say, table by table. Reads only; what follows from a
 * difference is decided by others (damage.ts names it).
 */

import { blobOfFile, decodePointer } from './bodies.ts'
import type { Drive } from './drive.ts'
import { readPages } from './pages.ts'
import { createTally, isByValue, type Sum } from './sums.ts'
import type { SummedTable } from './tables.ts'

/** The sum of a table's rows as they stand. Of rows that are written once the keys are enough. */
export const sumOfTable = async (drive: Drive, table: SummedTable): Promise<Sum> => {
  const tally = createTally(table)
  for await (const rows of readPages(drive.page, table, { keysOnly: !isByValue(table) })) {
    for (const [key, sealed] of rows) tally.add(key, sealed)
  }
  return tally.sum()
}

/**
 * The sum of the rows of `blob` whose files are there, and the files that no row points to. A pointer
 * without its file is missing in the sum.
 */
export const sumOfFiles = async (
  drive: Drive,
  onStray: (names: readonly string[]) => Promise<void>,
): Promise<Sum> => {
  const tally = createTally('blob')
  for await (const names of drive.listFiles()) {
    const files = names.map((name) => ({ name, ...blobOfFile(name) }))
    const pointers = await drive.getMany(
      files.map(({ blob = '' }) => ({ table: 'blob', key: blob })),
    )
    const stray: string[] = []
    files.forEach(({ name, blob, commit }, index) => {
      const sealed = pointers[index]
      if (blob === undefined || sealed === undefined) stray.push(name)
      else if (decodePointer(sealed, blob).commit !== commit) stray.push(name)
      else tally.add(blob, sealed)
    })
    if (stray.length > 0) await onStray(stray)
  }
  return tally.sum()
}
