/**
 * From operations to what a drive writes: one operation a row (of several the last counts), and the
 * files of large bodies. Pure.
 */

import { assertNever } from '../../protocol/assert.ts'
import { blobKey, placeBody, placesOf } from './bodies.ts'
import type { BlobFile, RawOperation } from './drive.ts'
import type { Operation } from './operations.ts'
import { encodeRow } from './row-form.ts'

export interface CommitPlan {
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
        enter({ type: 'put', table: operation.sublevel, key, value: encodeRow(operation.value) })
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
  return { rows: [...rows.values()], files: [...files.values()] }
}
