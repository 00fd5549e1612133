/**
 * A disk in memory and drives on it, which keep the contract of coordinator/store/drive.ts and break what
 * it allows to break, as the test says. No timers, no randomness: with the same answers of `faults`
 * the same things happen, in turns of the microtask queue.
 *
 * A *disk* outlives processes; a *drive* is one process's way to it. `disk.crash(keep)` ends all
 * drives: what they had in flight is kept, lost or torn by `keep`, what they still ask for is never
 * answered, and a new drive finds the rest. With `isSynced: false` a drive only says that batches and
 * files are durable: a crash takes the latest of them away (a test of tests).
 */

import assert from 'node:assert/strict'
import type {
  BlobFile,
  Drive,
  DriveSnapshot,
  PageRange,
  RawOperation,
  RawRow,
} from '../../coordinator/store/drive.ts'
import { TABLES, type Table } from '../../coordinator/store/tables.ts'

/** How a write ends: done; refused with nothing or all of it written; files also half-written. */
export type Outcome = 'done' | 'lost' | 'kept' | 'torn'

interface Faults {
  /** Before each step of a drive: a simulation lets time pass here. */
  readonly turn?: () => Promise<void>
  readonly batch?: (operations: readonly RawOperation[]) => Outcome
  readonly file?: (file: BlobFile) => Outcome
  /** Whether the disk takes bytes, and opens. */
  readonly isRefusing?: () => boolean
  readonly isSynced?: boolean
}

interface InFlight {
  readonly end: (outcome: Outcome) => void
}

export interface MemoryDisk {
  readonly tables: ReadonlyMap<Table, Map<string, Uint8Array>>
  readonly files: Map<string, Uint8Array>
  openDrive(faults?: Faults): Drive
  /** The power goes: `keep` says what becomes of each write in flight. A torn batch is a lost one. */
  crash(keep?: () => Outcome): void
}

const EMPTY = new Uint8Array(0)

/** A promise of a process that is gone. */
const never = <T>(): Promise<T> => new Promise(() => undefined)

const selectRows = (
  table: ReadonlyMap<string, Uint8Array>,
  { gt, lt, reverse = false, limit = Number.POSITIVE_INFINITY, keysOnly = false }: PageRange,
): RawRow[] => {
  const keys = [...table.keys()].filter(
    (key) => (gt === undefined || key > gt) && (lt === undefined || key < lt),
  )
  keys.sort()
  if (reverse) keys.reverse()
  // Small pages: their ends are where faults would be.
  return keys
    .slice(0, Math.min(limit, 7))
    .map((key) => [key, keysOnly ? EMPTY : (table.get(key) ?? EMPTY)])
}

export const createMemoryDisk = (): MemoryDisk => {
  const tables = new Map<Table, Map<string, Uint8Array>>(
    ([...TABLES, 'payload'] as const).map((table) => [table, new Map()]),
  )
  const files = new Map<string, Uint8Array>()
  const inFlight = new Set<InFlight>()
  /** What takes back the writes that were only said to be durable, latest last. */
  let unsynced: (() => void)[] = []
  let life = 0

  const tableOf = (table: Table): Map<string, Uint8Array> => tables.get(table) ?? new Map()

  const restore = (map: Map<string, Uint8Array>, key: string): (() => void) => {
    const before = map.get(key)
    return () => void (before === undefined ? map.delete(key) : map.set(key, before))
  }

  const applyBatch = (operations: readonly RawOperation[]): (() => void)[] =>
    operations.map((operation) => {
      const { table, key } = operation
      const undo = restore(tableOf(table), key)
      if (operation.type === 'del') tableOf(table).delete(key)
      else tableOf(table).set(key, operation.value.slice())
      return undo
    })

  const applyFile = ({ name, bytes }: BlobFile, outcome: Outcome): (() => void) => {
    const undo = restore(files, name)
    if (outcome === 'torn') files.set(name, bytes.slice(0, bytes.byteLength >> 1))
    else if (outcome !== 'lost') files.set(name, bytes.slice())
    return undo
  }

  const openDrive = (faults: Faults = {}): Drive => {
    const born = life
    let isSticky = false
    let isClosed = false

    /** Lets a turn pass; a drive whose process is gone stays there for ever. */
    const turn = async (): Promise<void> => {
      assert.equal(isClosed, false, 'nothing is asked of a closed drive')
      if (born !== life) await never()
      await faults.turn?.()
      if (born !== life) await never()
    }

    const write = async (
      decide: () => Outcome,
      apply: (outcome: Outcome) => (() => void)[],
    ): Promise<void> => {
      const write: InFlight = { end: (outcome) => void (outcome !== 'lost' && apply(outcome)) }
      inFlight.add(write)
      await turn().finally(() => born === life && inFlight.delete(write))
      const outcome = isSticky ? 'lost' : decide()
      const undo = outcome === 'lost' ? [] : apply(outcome)
      if (faults.isSynced === false) unsynced.push(...undo)
      if (outcome === 'done') return
      throw new Error('No space left on device')
    }

    const refuse = (): void => {
      if (faults.isRefusing?.() === true) throw new Error('No space left on device')
    }

    const select = async (table: Table, range: PageRange): Promise<readonly RawRow[]> => {
      await turn()
      return selectRows(tableOf(table), range)
    }

    return {
      async batch(operations) {
        try {
          await write(
            () => faults.batch?.(operations) ?? 'done',
            (outcome) => (outcome === 'torn' ? [] : applyBatch(operations)),
          )
        } catch (error) {
          isSticky = true
          throw error
        }
      },
      async getMany(rows) {
        await turn()
        return rows.map(({ table, key }) => tableOf(table).get(key)?.slice())
      },
      page: select,
      async textPage(table, range) {
        const rows = await select(table, range)
        return rows.map(([key, value]) => [key, Buffer.from(value).toString()])
      },
      async snapshot(): Promise<DriveSnapshot> {
        await turn()
        const copy = new Map([...tables].map(([table, rows]) => [table, new Map(rows)]))
        return {
          page: async (table, range) => selectRows(copy.get(table) ?? new Map(), range),
          close: async () => undefined,
        }
      },
      async writeFiles(written) {
        for (const file of written) {
          await write(
            () => faults.file?.(file) ?? 'done',
            (outcome) => [applyFile(file, outcome)],
          )
        }
      },
      async readFile(name) {
        await turn()
        return files.get(name)?.slice()
      },
      async removeFiles(names) {
        await turn()
        for (const name of names) files.delete(name)
      },
      async *listFiles() {
        await turn()
        const names = [...files.keys()]
        while (names.length > 0) yield names.splice(0, 3)
      },
      async compact() {
        await turn()
      },
      async probe() {
        await turn()
        refuse()
      },
      async reopen() {
        await turn()
        refuse()
        isSticky = false
      },
      async repair() {
        await turn()
        return 'nowhere'
      },
      async close() {
        isClosed = true
      },
    }
  }

  return {
    tables,
    files,
    openDrive,
    crash(keep = () => 'lost') {
      life += 1
      for (const write of inFlight) write.end(keep())
      inFlight.clear()
      for (const undo of unsynced.reverse()) undo()
      unsynced = []
    },
  }
}
