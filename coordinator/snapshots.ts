/**
 * The rows and files as they were at one moment, while commits go on: what a backup reads. One at a
 * time, and for `snapshotMs` at the most, because it pins what it needs on the disk: files whose
 * bodies are deleted meanwhile are removed only when it was released. Whatever else removes files of
 * bodies comes through here, too.
 */

import { HyperError, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { blobFileName, checkFile } from './bodies.ts'
import type { BlobFile, Drive, DriveSnapshot, RawRow } from './drive.ts'
import { readPages } from './pages.ts'
import { TABLES, type Table } from './tables.ts'

export interface Snapshot {
  /** All rows of all tables, as they are stored; the sums of exactly these among them. */
  rows(): AsyncGenerator<{ readonly table: Table; readonly rows: readonly RawRow[] }>
  /** All files that the rows point to. Throws STATE_DAMAGED for one that is not whole. */
  files(): AsyncGenerator<BlobFile>
  release(): Promise<void>
}

interface Deps {
  readonly drive: Drive
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>
  readonly onTrouble: (message: string) => void
}

export interface Snapshots {
  /** Throws OVERLOADED while there is one. */
  take(): Promise<Snapshot>
  /** Returns at once. A file that stays is swept at the next start. */
  removeFiles(names: readonly string[]): void
  /** Resolves when what was to be removed is. */
  settled(): Promise<void>
  close(): Promise<void>
}

export const createSnapshots = ({ drive, pause, onTrouble }: Deps): Snapshots => {
  let removing: Promise<void> = Promise.resolve()
  /** Of the snapshot that is out: the files it still needs, and what ends it. */
  let out: { readonly files: string[]; release(): Promise<void> } | null = null

  const removeFiles = (names: readonly string[]): void => {
    if (names.length === 0) return
    if (out !== null) out.files.push(...names)
    else {
      removing = removing
        .then(() => drive.removeFiles(names))
        .catch((error: unknown) => onTrouble(`files could not be removed: ${messageOf(error)}`))
    }
  }

  const read = (snapshot: DriveSnapshot, release: () => Promise<void>): Snapshot => ({
    async *rows() {
      for (const table of TABLES) {
        for await (const rows of readPages(snapshot.page, table)) yield { table, rows }
      }
    },
    async *files() {
      for await (const rows of readPages(snapshot.page, 'blob')) {
        for (const [blob, pointer] of rows) {
          const name = blobFileName(blob, pointer)
          yield { name, bytes: checkFile(await drive.readFile(name), pointer, blob) }
        }
      }
    },
    release,
  })

  return {
    async take() {
      if (out !== null) throw new HyperError('OVERLOADED', 'another snapshot is being read')
      const released = new AbortController()
      let snapshot: DriveSnapshot | undefined
      const taken = {
        files: [] as string[],
        async release() {
          if (out !== taken) return
          out = null
          released.abort()
          removeFiles(taken.files)
          await snapshot?.close()
        },
      }
      // From here on its files are kept; only then is the moment chosen.
      out = taken
      try {
        snapshot = await drive.snapshot()
      } catch (error) {
        await taken.release()
        throw error
      }
      pause(limits.snapshotMs, released.signal)
        .then(taken.release)
        .catch((error: unknown) => onTrouble(`a snapshot was not released: ${messageOf(error)}`))
      return read(snapshot, taken.release)
    },
    removeFiles,
    settled: () => removing,
    async close() {
      await out?.release()
      await removing
    },
  }
}
