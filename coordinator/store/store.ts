/**
 * The coordinator's store: rows, bodies, and one write primitive, over a drive.
 *
 * `commit(operations)` is atomic and durable when it resolves. A disk that refuses is waited for and
 * asked what it took (steady-drive.ts): meanwhile `isWritable` is false, and nobody is told anything.
 * One commit is in flight at a time. Bodies are written once under a key; where they lie is decided
 * in bodies.ts. Every commit keeps count and hash of what is stored (sums.ts).
 *
 * At start every table is read once, by `scan` or `scanKeys` while memory is filled from it and the
 * rest by `verify`; of bodies and log lines, the keys: what fails a checksum, is missing or too much is STATE_DAMAGED, and never repaired by
 * itself. Until `verify` resolved, nothing may be committed to a table that is being scanned.
 */

import { setTimeout } from 'node:timers/promises'
import { assert } from '../../protocol/assert.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { blobFileName, checkFile, decodeInline, placesOf } from './bodies.ts'
import { planCommit } from './commit-plan.ts'
import type { TellLoss } from './damage.ts'
import type { Drive, PageRange, RawOperation, RowName, TextRow } from './drive.ts'
import { indexBlobs, indexTable } from './inspection.ts'
import { openLevelDrive } from './level-drive.ts'
import type { Operation } from './operations.ts'
import { type ReadPage, readPages } from './pages.ts'
import { createRemovals } from './removals.ts'
import { decodeRow, openRow, parseJson, rowChecksum, rowText } from './row-form.ts'
import { createRowIndex, type RowIndex } from './row-index.ts'
import { readSnapshot, type StoreSnapshot } from './snapshot.ts'
import { createSteadyDrive } from './steady-drive.ts'
import { loadSums, readSums } from './stored-sums.ts'
import { isByValue, isSameSum, isSummed, markEnd, putSums } from './sums.ts'
import { damageOf, isDamage } from './survey.ts'
import { type BodyKind, SUMMED, type Sublevel, type SummedTable, type Table } from './tables.ts'
import { createTombstones } from './tombstones.ts'

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
  /** All rows of a sublevel, in order, proven to be all when it resolves. For the start. */
  scan(sublevel: Sublevel, onRow: (key: string, value: unknown) => void): Promise<void>
  /** The same of a table whose rows count by their keys (sums.ts), which are all that is read. */
  scanKeys(sublevel: Sublevel, onKey: (key: string) => void): Promise<void>
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
  /**
   * Given, the operator accepts that data is lost: all of it is told, and the rest made consistent.
   * Otherwise a damaged disk is refused.
   */
  readonly tellLoss?: TellLoss | undefined
  /** Bodies above it are files. */
  readonly inlineBytesMax: number
}

/** Opens what is on the drive. Throws STATE_DAMAGED; the drive is the caller's then. */
export const createStore = async (drive: Drive, deps: StoreDeps): Promise<Store> => {
  let sums = await loadSums(drive, deps.tellLoss)
  /** Of the tables that were proven. */
  const indexes = new Map<Table, RowIndex>()
  let isCommitting = false
  /** Rows that the indexes know and the disk may not. */
  let underWay: readonly RawOperation[] = []
  /** What is on the disk for sure; ahead of it is only a commit that is under way, or was given up. */
  let durable = sums
  const steady = createSteadyDrive({
    drive,
    lastCommit: async () => (await readSums(drive))?.commit ?? 0,
    pause: deps.pause,
    onTrouble: deps.onTrouble,
  })
  const removals = createRemovals(drive, deps.onTrouble)
  const tombstones = createTombstones(drive.compact, deps.onTrouble)
  const readPage: ReadPage<TextRow> = (table, range) =>
    steady.read((open) => open.textPage(table, range))

  const isDue = ({ table, key }: RowName): boolean =>
    indexes.get(table)?.has(key) === true &&
    !underWay.some((row) => row.table === table && row.key === key)

  /** Throws STATE_DAMAGED for a row that must be there: the disk lost it after the start. */
  const getMany = async (rows: readonly RowName[]) => {
    const asked = rows.filter(({ table, key }) => indexes.get(table)?.has(key) !== false)
    if (asked.length === 0) return rows.map(() => undefined)
    // Read again, because it may have been on its way to the disk.
    for (let reads = 0; ; reads += 1) {
      const found = await steady.read((open) => open.getMany(asked))
      const lost = asked.find((row, at) => found[at] === undefined && isDue(row))
      if (lost === undefined) return rows.map((row) => found[asked.indexOf(row)])
      if (reads === 1) throw new HyperError('STATE_DAMAGED', `${lost.table}/${lost.key} is lost`)
    }
  }

  const prove = async (table: SummedTable, index: RowIndex): Promise<void> => {
    if (!isSameSum(index.sum(), sums.tables[table])) throw await damageOf(drive, sums)
    indexes.set(table, index)
  }

  const proveOnce = async (table: SummedTable): Promise<void> => {
    if (indexes.has(table)) return
    const expected = sums.tables[table].count
    await prove(table, await indexTable(readPage, table, { expected }))
  }

  /** Files of bodies that these rows replace or delete. */
  const filesBehind = async (rows: readonly RawOperation[]): Promise<string[]> => {
    const blobs = rows.filter(({ table, key }) => table === 'blob' && indexes.get(table)?.has(key))
    const pointers = blobs.length === 0 ? [] : await getMany(blobs)
    return blobs.flatMap(({ key }, at) => {
      const pointer = pointers[at]
      return pointer === undefined ? [] : [blobFileName(key, pointer)]
    })
  }

  /** Makes the indexes follow, and gives the batch that makes the disk follow. */
  const apply = (rows: readonly RawOperation[]): readonly RawOperation[] => {
    const written = rows.filter((row) => {
      const index = indexes.get(row.table)
      if (index === undefined || !isSummed(row.table, row.key)) return true
      // A deletion of nothing would only be a tombstone that readers have to step over.
      if (row.type === 'del' && !index.has(row.key)) return false
      if (row.type === 'del') index.delete(row.key)
      else index.put(row.key, isByValue(row.table) ? rowChecksum(rowText(row.value)) : 0)
      return true
    })
    const tables = { ...sums.tables }
    for (const table of SUMMED) tables[table] = indexes.get(table)?.sum() ?? tables[table]
    sums = { commit: sums.commit + 1, tables }
    return [...written, putSums(sums)]
  }

  const commit = async (operations: readonly Operation[]): Promise<void> => {
    const { rows, files } = planCommit(operations, sums.commit + 1, deps.inlineBytesMax)
    if (!rows.every(({ table }) => indexes.has(table))) {
      const touched = SUMMED.filter((table) => rows.some((row) => row.table === table))
      for (const table of touched) await proveOnce(table)
    }
    const gone = await filesBehind(rows)
    underWay = rows
    const batch = apply(rows)
    await steady.write({ commit: sums.commit, files, operations: batch })
    underWay = []
    durable = sums
    removals.remove(gone)
    tombstones.note(batch)
  }

  const scan: Store['scan'] = async (sublevel, onRow) => {
    const index = createRowIndex(isByValue(sublevel), sums.tables[sublevel].count)
    for await (const rows of readPages(readPage, sublevel, {}, { isAhead: true })) {
      for (const [key, text] of rows) {
        const row = openRow(text)
        if (row === null) throw await damageOf(drive, sums)
        if (isSummed(sublevel, key)) index.put(key, row.checksum)
        onRow(key, parseJson(row.json, `${sublevel}/${key}`))
      }
    }
    await prove(sublevel, index)
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
      const [sealed] = await getMany([{ table: sublevel, key }])
      return sealed === undefined ? undefined : decodeRow(sealed, `${sublevel}/${key}`)
    },
    async body(kind, key) {
      const places = placesOf(kind, key)
      const blob = places[1].key
      for (let last: string | undefined; ; ) {
        const [inline, pointer] = await getMany(places)
        if (inline !== undefined) return decodeInline(inline, `${kind}/${key}`)
        if (pointer === undefined) return undefined
        const name = blobFileName(blob, pointer)
        const bytes = await steady.read((open) => open.readFile(name))
        // Without its file a pointer is read again: the body may have been deleted in between.
        if (bytes !== undefined || last === name) return checkFile(bytes, pointer, blob)
        last = name
      }
    },
    async *range(sublevel, range = {}) {
      for await (const rows of readPages(readPage, sublevel, range)) {
        for (const [key, sealed] of rows) yield [key, decodeRow(sealed, `${sublevel}/${key}`)]
      }
    },
    scan,
    async scanKeys(sublevel, onKey) {
      assert(!isByValue(sublevel), 'what counts by its values is read whole')
      const expected = sums.tables[sublevel].count
      const onRow = ([key]: TextRow): void => onKey(key)
      await prove(sublevel, await indexTable(readPage, sublevel, { expected, onRow }))
    },
    async verify() {
      const { index, missing } = await indexBlobs(drive, removals.remove).catch(
        async (error: unknown) => {
          throw isDamage(error) ? await damageOf(drive, sums) : error
        },
      )
      if (missing > 0) throw await damageOf(drive, sums)
      await prove('blob', index)
      for (const table of SUMMED) await proveOnce(table)
      await removals.settled()
    },
    isWritable: steady.isWritable,
    async snapshot() {
      const pin = removals.pin()
      try {
        const snapshot = await steady.read((open) => open.snapshot())
        return readSnapshot(snapshot, drive, pin.release)
      } catch (error) {
        pin.release()
        throw error
      }
    },
    async close() {
      await Promise.all([steady.settle(), removals.settled(), tombstones.settled()])
      // What the disk does not take now only leaves the end as a crash would have left it.
      if (steady.isWritable() && durable === sums) await markEnd(drive, sums).catch(() => undefined)
      await drive.close()
    },
  }
}

/** Opens, or makes, the store in `folder`. Throws as `openLevel` does. */
export const openStore = async (
  folder: string,
  {
    onTrouble = () => undefined,
    tellLoss,
  }: Partial<Pick<StoreDeps, 'onTrouble' | 'tellLoss'>> = {},
): Promise<Store> => {
  const drive = await openLevelDrive(folder, tellLoss)
  try {
    return await createStore(drive, {
      pause: (ms, signal) => setTimeout(ms, undefined, { signal }).catch(() => undefined),
      onTrouble,
      tellLoss,
      inlineBytesMax: limits.inlineBodyBytesMax,
    })
  } catch (error) {
    await drive.close()
    throw error
  }
}
