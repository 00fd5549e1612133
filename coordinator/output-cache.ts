/**
 * The outputs of one function, by the books: which bodies are there, how large, and in which order
 * they came, which is the order in which they go. The order is a number on the row, because a body
 * that was owed to a client can come long after those of later calls.
 */

import { limits } from '../protocol/limits.ts'
import { type OutputRow, rowKey } from './rows.ts'
import { del, delBody, type Operation, put, putBody } from './store/store.ts'

export interface OutputCache {
  has(seq: number): boolean
  /** `rotated` are the calls whose bodies went for it. */
  add(seq: number, body: Uint8Array): { operations: Operation[]; rotated: number[] }
  /** Nothing where there is none. */
  remove(seq: number): Operation[]
  seqs(): Iterable<number>
  bytes(): number
  /** The row of a body, at start; after all of them, `finishRestore`. */
  restore(seq: number, row: OutputRow): void
  hasRestored(seq: number): boolean
  finishRestore(): void
}

const counted = (bytes: number): number => Math.max(bytes, limits.cacheEntryBytesMin)

export const createOutputCache = (funcId: string): OutputCache => {
  /** Counted bytes, the one that came first in front. */
  const outputs = new Map<number, number>()
  const restored = new Map<number, OutputRow>()
  let bytes = 0
  let lastOrder = 0

  const enter = (seq: number, bodyBytes: number): void => {
    outputs.set(seq, counted(bodyBytes))
    bytes += counted(bodyBytes)
  }

  const remove = (seq: number): Operation[] => {
    const size = outputs.get(seq)
    if (size === undefined) return []
    outputs.delete(seq)
    bytes -= size
    return [del('output', rowKey(funcId, seq)), delBody('stdout', rowKey(funcId, seq))]
  }

  return {
    has: (seq) => outputs.has(seq),
    add(seq, body) {
      const key = rowKey(funcId, seq)
      lastOrder += 1
      const row: OutputRow = { bytes: body.byteLength, order: lastOrder }
      const operations: Operation[] = [put('output', key, row), putBody('stdout', key, body)]
      const rotated: number[] = []
      for (const oldest of outputs.keys()) {
        if (bytes + counted(body.byteLength) <= limits.cacheBytesMax) break
        operations.push(...remove(oldest))
        rotated.push(oldest)
      }
      enter(seq, body.byteLength)
      return { operations, rotated }
    },
    remove,
    seqs: () => outputs.keys(),
    bytes: () => bytes,
    restore: (seq, row) => void restored.set(seq, row),
    hasRestored: (seq) => restored.has(seq),
    finishRestore() {
      for (const [seq, row] of [...restored].sort(([, a], [, b]) => a.order - b.order)) {
        enter(seq, row.bytes)
        lastOrder = row.order
      }
      restored.clear()
    },
  }
}
