/** The sums of what is there, whatever was there before: of a salvaged disk, or of a migrated one. */

import type { Drive, RawOperation } from './drive.ts'
import { indexBlobs, indexTable } from './inspection.ts'
import { putSums, type Sums } from './sums.ts'
import { SUMMED, type SummedTable } from './tables.ts'

/** Writes them, and `more` with them. */
export const recount = async (
  drive: Drive,
  lastCommit: number,
  more: readonly RawOperation[] = [],
): Promise<Sums> => {
  const entries: [SummedTable, Sums['tables'][SummedTable]][] = []
  for (const table of SUMMED) entries.push([table, (await indexTable(drive.textPage, table)).sum()])
  const { highestCommit } = await indexBlobs(drive, () => undefined)
  const tables = Object.fromEntries(entries) as Sums['tables']
  // Above the number in any file's name, which no other body may get.
  const sums = { commit: Math.max(lastCommit, highestCommit) + 1, tables }
  await drive.batch([...more, putSums(sums)])
  return sums
}
