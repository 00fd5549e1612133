/**
 * From the rows on disk to the books of the caches, at start, and to the bodies that are owed to
 * synchronous clients. Rows only: no body is read.
 */

import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { Caches } from './caches.ts'
import type { Ledger } from './ledger/state.ts'
import { parseHistoryRow, parseLogRow, parseOutputRow, parseOwedRow } from './rows.ts'
import type { Store } from './store.ts'

const loadHistory = async (
  store: Pick<Store, 'scan'>,
  ledger: Ledger,
  caches: Caches,
  nowMs: number,
): Promise<ReadonlySet<string>> => {
  const debts = new Map<string, ReturnType<typeof parseOwedRow>>()
  for await (const [callId, value] of store.scan('owed')) debts.set(callId, parseOwedRow(value))
  for await (const [, value] of store.scan('history')) {
    const row = parseHistoryRow(value)
    caches.restoreHistory(row)
    const debt = debts.get(row.id)
    if (debt === undefined) continue
    const { key, agentId } = debt
    const untilMs = nowMs + limits.historyMs
    ledger.owed.set(row.id, { key, agentId, row, isInherited: true, untilMs })
  }
  return new Set(debts.keys())
}

/** Throws STATE_DAMAGED for a row that cannot be read, or that has lost what it belongs to. */
export const loadCaches = async (
  store: Pick<Store, 'scan'>,
  ledger: Ledger,
  caches: Caches,
  nowMs: number,
): Promise<void> => {
  const owed = await loadHistory(store, ledger, caches, nowMs)
  for await (const [key, value] of store.scan('output')) {
    const [funcId = '', seq = ''] = key.split('/')
    if (!caches.restoreOutput(funcId, Number(seq), parseOutputRow(value))) {
      throw new HyperError('STATE_DAMAGED', `the stored output ${key} has lost its history row`)
    }
  }
  const fetched = new Set<string>()
  for await (const [key] of store.scan('fetched')) fetched.add(key)
  for await (const [key, value] of store.scan('log')) {
    caches.restoreLog(key.split('/')[0] ?? '', parseLogRow(value))
  }
  caches.finishRestore(owed, fetched, nowMs)
}
