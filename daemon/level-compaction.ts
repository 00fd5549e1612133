/** LevelDB's own compaction of a range; the typings of `level` leave it out, for browsers have none. */

import type { Level } from 'level'

export const compactRange = async (
  database: Level<string, Uint8Array>,
  from: string,
  to: string,
): Promise<void> => {
  if (!('compactRange' in database) || typeof database.compactRange !== 'function') return
  await database.compactRange(from, to)
}
