/**
 * What the store asks of a disk, and nothing else: rows in tables, and files of bodies. Bytes, or
 * text that is UTF-8 there; checksums, sums and the meaning of rows are the store's (store.ts).
 * level-drive.ts is the real one.
 *
 * - `batch` is atomic, and durable when it resolves. When it rejects, whether it was written is
 *   unknown, and every later batch may reject until `reopen` resolved. One is in flight at a time.
 * - `writeFiles` is durable when it resolves: content and name. When it rejects, or in a crash, each
 *   file may be absent, torn or whole. A name is written again only with the same bytes.
 * - `page` gives some of the rows asked for, in order: at least one if there is any, so an empty page
 *   is the end. Nothing is held between pages. `textPage` gives the same as text; what is no UTF-8
 *   comes with replacement characters.
 * - Reads may reject while a batch has failed and `reopen` has not resolved.
 * - `reopen` can be repeated until it resolves. After `close` nothing is called.
 */

import type { Table } from './tables.ts'

export interface RowName {
  readonly table: Table
  readonly key: string
}

export type RawOperation =
  | {
      readonly type: 'put'
      readonly table: Table
      readonly key: string
      readonly value: Uint8Array
    }
  | { readonly type: 'del'; readonly table: Table; readonly key: string }

export interface PageRange {
  readonly gt?: string
  readonly lt?: string
  readonly reverse?: boolean
  readonly limit?: number
  /** Values come empty. */
  readonly keysOnly?: boolean
}

export type RawRow = readonly [key: string, value: Uint8Array]
export type TextRow = readonly [key: string, value: string]

export interface BlobFile {
  readonly name: string
  readonly bytes: Uint8Array
}

/** The rows as they were at one moment, however long they are read. */
export interface DriveSnapshot {
  page(table: Table, range: PageRange): Promise<readonly RawRow[]>
  close(): Promise<void>
}

export interface Drive {
  batch(operations: readonly RawOperation[]): Promise<void>
  /** In the order of the names; undefined where there is none. */
  getMany(rows: readonly RowName[]): Promise<readonly (Uint8Array | undefined)[]>
  page(table: Table, range: PageRange): Promise<readonly RawRow[]>
  textPage(table: Table, range: PageRange): Promise<readonly TextRow[]>
  snapshot(): Promise<DriveSnapshot>
  writeFiles(files: readonly BlobFile[]): Promise<void>
  readFile(name: string): Promise<Uint8Array | undefined>
  /** Names without a file are no error. Not durable: a crash can bring a file back. */
  removeFiles(names: readonly string[]): Promise<void>
  /** Some names at a time, in no order. */
  listFiles(): AsyncIterable<readonly string[]>
  /** Frees what deleted rows between two keys of a table still cost readers. */
  compact(table: Table, from: string, to: string): Promise<void>
  /** Rejects while the disk takes no bytes. */
  probe(): Promise<void>
  reopen(): Promise<void>
  /** Throws away rows that cannot even be stepped over. Resolves with where their bytes still are. */
  repair(): Promise<string>
  close(): Promise<void>
}
