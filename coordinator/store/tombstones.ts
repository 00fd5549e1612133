/**
 * Deleted rows cost whoever reads over their place until LevelDB has compacted them away, and rows
 * are deleted where readers begin: the oldest calls, the oldest lines of a log. So deletions are
 * counted, for each table and first part of the key, and after `tombstonesMax` of one the range from
 * its first to its last deleted key is compacted. No reader steps over more than that.
 *
 * Off the way of commits, one range at a time. Tables whose rows are only asked for by key are left
 * to LevelDB. What was deleted before a start is not counted: a start reads everything once anyway.
 */

import { messageOf } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Drive, RawOperation } from './drive.ts'
import type { Table } from './tables.ts'

const RANGED: ReadonlySet<Table> = new Set<Table>([
  ...(['call', 'input', 'lease', 'log', 'history', 'output', 'stdout'] as const),
])

interface Dead {
  count: number
  from: string
  to: string
}

export interface Tombstones {
  /** Counts what a commit deleted. */
  note(operations: readonly RawOperation[]): void
  settled(): Promise<void>
}

export const createTombstones = (
  compact: Drive['compact'],
  onTrouble: (message: string) => void,
): Tombstones => {
  const dead = new Map<string, Dead>()
  let compacting: Promise<void> = Promise.resolve()

  const count = (table: Table, key: string): void => {
    const place = `${table}!${key.slice(0, key.indexOf('/') + 1)}`
    const known = dead.get(place) ?? { count: 0, from: key, to: key }
    known.count += 1
    if (key < known.from) known.from = key
    if (key > known.to) known.to = key
    if (known.count < limits.tombstonesMax) {
      if (dead.size >= limits.tombstonePlacesMax) dead.clear()
      dead.set(place, known)
    } else {
      dead.delete(place)
      compacting = compacting
        .then(() => compact(table, known.from, known.to))
        .catch((error: unknown) => onTrouble(`a compaction failed: ${messageOf(error)}`))
    }
  }

  return {
    note(operations) {
      for (const { type, table, key } of operations) {
        if (type === 'del' && RANGED.has(table)) count(table, key)
      }
    },
    settled: () => compacting,
  }
}
