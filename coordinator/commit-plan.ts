/**
 * From operations to what a drive writes: one operation a row (of several the last counts), the
 * files of large bodies, and the files that nothing points to afterwards. Pure.
 */

import { sealRow } from '../daemon/sealed-row.ts'
import { assertNever } from '../protocol/assert.ts'
import { blobKey, decodePointer, fileName, placeBody, placesOf } from './bodies.ts'
import type { BlobFile, RawOperation } from './drive.ts'
import type { Operation } from './operations.ts'
import { putSums, type Sums, sumsAfter } from './sums.ts'

export interface CommitPlan {
  readonly commit: number
  /** One a row. What stands under their keys has to be known before they can be written. */
  readonly rows: readonly RawOperation[]
  readonly files: readonly BlobFile[]
}

export const planCommit = (
  operations: readonly Operation[],
  commit: number,
  inlineBytesMax: number,
): CommitPlan => {
  const rows = new Map<string, RawOperation>()
  const files = new Map<string, BlobFile>()
  const enter = (row: RawOperation): void => void rows.set(`${row.table}!${row.key}`, row)
  for (const operation of operations) {
    const { key } = operation
    switch (operation.type) {
      case 'put':
        enter({ type: 'put', table: operation.sublevel, key, value: sealRow(operation.value) })
        break
      case 'del':
        enter({ type: 'del', table: operation.sublevel, key })
        break
      case 'put-body': {
        const place = placeBody(operation.kind, key, operation.bytes, commit, inlineBytesMax)
        for (const row of place.operations) enter(row)
        files.delete(blobKey(operation.kind, key))
        if (place.file !== undefined) files.set(blobKey(operation.kind, key), place.file)
        break
      }
      case 'del-body':
        for (const place of placesOf(operation.kind, key)) enter({ type: 'del', ...place })
        files.delete(blobKey(operation.kind, key))
        break
      default:
        assertNever(operation)
    }
  }
  return { commit, rows: [...rows.values()], files: [...files.values()] }
}

/** The batch of a plan, the sums after it, and the files that go once it is durable. */
export const settlePlan = (
  { rows }: CommitPlan,
  former: readonly (Uint8Array | undefined)[],
  sums: Sums,
): {
  readonly operations: readonly RawOperation[]
  readonly sums: Sums
  readonly goneFiles: readonly string[]
} => {
  const after = sumsAfter(sums, rows, former)
  const goneFiles: string[] = []
  // A deletion of nothing would only be a tombstone that readers have to step over.
  const operations = rows.filter((row, index) => row.type === 'put' || former[index] !== undefined)
  rows.forEach(({ table, key }, index) => {
    const pointer = former[index]
    if (table !== 'blob' || pointer === undefined) return
    goneFiles.push(fileName(key, decodePointer(pointer, key).commit))
  })
  return { operations: [...operations, putSums(after)], sums: after, goneFiles }
}
