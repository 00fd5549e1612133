/**
 * The coordinator's store: rows, bodies, and one write primitive, over a drive.
 *
 * `commit(operations)` is atomic and durable when it resolves. A disk that refuses is waited for and
 * asked what it took (steady-drive.ts): meanwhile `isWritable` is false, and nobody is told anything.
 * One commit is in flight at a time. Bodies are written once under a key; where they lie is decided
 * in bodies.ts. Every commit keeps count and hash of what is stored (sums.ts).
 *
 * At start every table is read whole once, by `scan` while memory is filled from it and the rest by
 * `verify`: what fails a checksum, is missing or too much is STATE_DAMAGED, and never repaired by
 * itself. Until `verify` resolved, nothing may be committed to a table that is being scanned.
 */

import { setTimeout } from 'node:timers/promises'
import { unsealRow } from '../daemon/sealed-row.ts'
import { assert } from '../protocol/assert.ts'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { checkFile, decodeInline, decodePointer, fileName, placesOf } from './bodies.ts'
import { planCommit, settlePlan } from './commit-plan.ts'
import type { Drive, PageRange, RawOperation } from './drive.ts'
import { sumOfFiles, sumOfTable } from './inspection.ts'
import { openLevelDrive } from './level-drive.ts'
import type { Operation } from './operations.ts'
import { type ReadPage, readPages } from './pages.ts'
import { readSnapshot, type StoreSnapshot } from './snapshot.ts'
import { createSteadyDrive, type SteadyDrive } from './steady-drive.ts'
import {
  createTally,
  decodeSums,
  emptySums,
  isByValue,
  isSameSum,
  SUMS_ROW,
  type Sum,
  type Sums,
} from './sums.ts'
import { type BodyKind, SUMMED, type Sublevel, type SummedTable } from './tables.ts'

export { del, delBody, type Operation, put, putBody } from './operations.ts'
export { BODIES, type BodyKind, numberKey, SUBLEVELS, type Sublevel } from './tables.ts'

export interface Store {
  /**
   * Atomic and durable. While the disk refuses it is tried again; it rejects only when the disk has
   * failed for good or the store is closed: what was written then is unknown.
   */
  commit(operations: readonly Operation[]): Promise<void>
  get(sublevel: Sublevel, key: string): Promise<unknown>
  /** Undefined where there is none. */
  body(kind: BodyKind, key: string): Promise<Uint8Array | undefined>
  /** Rows in order of their keys. */
  range(sublevel: Sublevel, range?: Range): AsyncGenerator<readonly [string, unknown]>
  /** All rows of a sublevel, proven to be all at the end. For the start. */
  scan(sublevel: Sublevel): AsyncGenerator<readonly [string, unknown]>
  /** Proves what was not scanned, and removes files that a crash left behind. Ends the start. */
  verify(): Promise<void>
  /** False while the disk refuses a commit. */
  isWritable(): boolean
  /** What is committed now, to be read while writes go on. One at a time. */
  snapshot(): Promise<StoreSnapshot>
  /** Also ends a commit that the disk refuses. */
  close(): Promise<void>
}

type Range = Omit<PageRange, 'keysOnly'>

export interface StoreDeps {
  /** Resolves early when the signal is aborted. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>
  /** What an operator should know: the disk refuses, the disk takes commits again. */
  readonly onTrouble: (message: string) => void
  /** Bodies above it are files. */
  readonly inlineBytesMax: number
}

const readSums = async (drive: Drive): Promise<Sums | undefined> => {
  const [sealed] = await drive.getMany([SUMS_ROW])
  return sealed === undefined ? undefined : decodeSums(sealed)
}

/** The sums on the disk. There are none only where there is nothing at all. */
const loadSums = async (drive: Drive): Promise<Sums> => {
  const sums = await readSums(drive)
  if (sums !== undefined) return sums
  const found = await Promise.all(SUMMED.map((table) => sumOfTable(drive, table)))
  if (found.some(({ count }) => count > 0)) {
    throw new HyperError('STATE_DAMAGED', 'the sums of the stored rows are missing')
  }
  return emptySums()
}

/** What stands under the keys of rows now. Where only presence matters the bytes are left away. */
const readFormer = async (
  steady: SteadyDrive,
  rows: readonly RawOperation[],
): Promise<(Uint8Array | undefined)[]> => {
  const former: (Uint8Array | undefined)[] = rows.map(() => undefined)
  const positions = rows.map((_row, index) => index)
  const byValue = positions.filter((index) => isByValue(rows[index]?.table ?? 'sums'))
  const byKey = positions.filter((index) => !isByValue(rows[index]?.table ?? 'sums'))
  const namesOf = (indexes: readonly number[]) => indexes.flatMap((index) => rows[index] ?? [])
  const [values, presences] = await Promise.all([
    byValue.length === 0 ? [] : steady.read((drive) => drive.getMany(namesOf(byValue))),
    byKey.length === 0 ? [] : steady.read((drive) => drive.hasMany(namesOf(byKey))),
  ])
  byValue.forEach((index, at) => {
    former[index] = values[at]
  })
  byKey.forEach((index, at) => {
    if (presences[at] === true) former[index] = PRESENT
  })
  return former
}

const PRESENT = new Uint8Array(0)

/** Opens what is on the drive. Throws STATE_DAMAGED; the drive is the caller's then. */
export const createStore = async (drive: Drive, deps: StoreDeps): Promise<Store> => {
  let sums = await loadSums(drive)
  const checked = new Set<SummedTable>()
  let isCommitting = false
  let removing: Promise<void> = Promise.resolve()
  /** Files that a snapshot may still read; null while there is none. */
  let pinned: string[] | null = null
  const steady = createSteadyDrive({
    drive,
    lastCommit: async () => (await readSums(drive))?.commit ?? 0,
    pause: deps.pause,
    onTrouble: deps.onTrouble,
  })
  const readPage: ReadPage = (table, range) => steady.read((open) => open.page(table, range))

  const compare = (table: SummedTable, found: Sum): void => {
    const expected = sums.tables[table]
    if (isSameSum(found, expected)) checked.add(table)
    else {
      throw new HyperError(
        'STATE_DAMAGED',
        `${table} has ${found.count} rows that are not the ${expected.count} that were written`,
      )
    }
  }

  /** A file that stays is swept at the next start. */
  const removeFiles = (names: readonly string[]): void => {
    if (names.length === 0) return
    if (pinned !== null) {
      pinned.push(...names)
      return
    }
    removing = removing
      .then(() => drive.removeFiles(names))
      .catch((error: unknown) => deps.onTrouble(`files could not be removed: ${messageOf(error)}`))
  }

  const commit = async (operations: readonly Operation[]): Promise<void> => {
    const plan = planCommit(operations, sums.commit + 1, deps.inlineBytesMax)
    const former = await readFormer(steady, plan.rows)
    const settled = settlePlan(plan, former, sums)
    await steady.write({ ...plan, operations: settled.operations })
    sums = settled.sums
    removeFiles(settled.goneFiles)
  }

  return {
    async commit(operations) {
      assert(!isCommitting, 'one commit is in flight')
      isCommitting = true
      await commit(operations).finally(() => {
        isCommitting = false
      })
    },
    async get(sublevel, key) {
      const [sealed] = await steady.read((open) => open.getMany([{ table: sublevel, key }]))
      return sealed === undefined ? undefined : unsealRow(sealed, `${sublevel}/${key}`)
    },
    async body(kind, key) {
      const places = placesOf(kind, key)
      const blob = places[1].key
      for (let last: number | undefined; ; ) {
        const [inline, sealed] = await steady.read((open) => open.getMany(places))
        if (inline !== undefined) return decodeInline(inline, `${kind}/${key}`)
        if (sealed === undefined) return undefined
        const pointer = decodePointer(sealed, blob)
        const bytes = await steady.read((open) => open.readFile(fileName(blob, pointer.commit)))
        // Without its file a pointer is read again: the body may have been deleted in between.
        if (bytes !== undefined || last === pointer.commit) return checkFile(bytes, pointer, blob)
        last = pointer.commit
      }
    },
    async *range(sublevel, range = {}) {
      for await (const rows of readPages(readPage, sublevel, range)) {
        for (const [key, sealed] of rows) yield [key, unsealRow(sealed, `${sublevel}/${key}`)]
      }
    },
    async *scan(sublevel) {
      const tally = createTally(sublevel)
      for await (const rows of readPages(readPage, sublevel)) {
        for (const [key, sealed] of rows) {
          tally.add(key, sealed)
          yield [key, unsealRow(sealed, `${sublevel}/${key}`)]
        }
      }
      compare(sublevel, tally.sum())
    },
    async verify() {
      for (const table of SUMMED) {
        if (checked.has(table)) continue
        const found =
          table === 'blob'
            ? await sumOfFiles(drive, async (names) => removeFiles(names))
            : await sumOfTable(drive, table)
        compare(table, found)
      }
      await removing
    },
    isWritable: steady.isWritable,
    async snapshot() {
      assert(pinned === null, 'one snapshot is open')
      pinned = []
      const release = (): void => {
        const names = pinned ?? []
        pinned = null
        removeFiles(names)
      }
      try {
        return readSnapshot(await steady.read((open) => open.snapshot()), drive, release)
      } catch (error) {
        release()
        throw error
      }
    },
    async close() {
      await steady.close()
      await removing
    },
  }
}

/** Opens, or makes, the store in `folder`. Throws as `openLevel` does. */
export const openStore = async (
  folder: string,
  { onTrouble = () => undefined }: Partial<Pick<StoreDeps, 'onTrouble'>> = {},
): Promise<Store> => {
  const drive = await openLevelDrive(folder)
  try {
    return await createStore(drive, {
      pause: (ms, signal) => setTimeout(ms, undefined, { signal }).catch(() => undefined),
      onTrouble,
      inlineBytesMax: limits.inlineBodyBytesMax,
    })
  } catch (error) {
    await drive.close()
    throw error
  }
}
