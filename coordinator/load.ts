/**
 * From the rows on disk to the ledger and caches in memory, at start. Calls come back in the order
 * of their numbers; those that hold a lease stay leased: every lease counts as renewed at this
 * moment for the longest length, until its agent reports (a restart costs no work).
 */

import Type from 'typebox'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { LogLineSchema } from '../protocol/log-line.ts'
import { createParser } from '../protocol/schema.ts'
import type { Caches } from './caches.ts'
import { callFromRow, enqueue } from './ledger/calls.ts'
import { bookLease } from './ledger/leases.ts'
import type { Lease, Ledger, Terms } from './ledger/state.ts'
import { addAccount } from './ledger/step.ts'
import {
  type LeaseRow,
  parseCallRow,
  parseHistoryRow,
  parseLeaseRow,
  parseOutputRow,
  parseOwedRow,
} from './rows.ts'
import { numberKey, put, type Store } from './store.ts'

const parseCount = createParser(Type.Integer({ minimum: 0 }), 'STATE_DAMAGED', 'stored number')
const parseLine = createParser(LogLineSchema, 'STATE_DAMAGED', 'stored log line')

/**
 * The epoch of this start: above the last one, and at least the wall clock's seconds, so that a
 * coordinator restored from an old backup is ahead of the one it replaces. Durable when it resolves.
 */
export const raiseEpoch = async (store: Store, wallMs: number): Promise<number> => {
  const last = parseCount((await store.get('meta', 'epoch')) ?? 0)
  const epoch = Math.max(last + 1, Math.floor(wallMs / 1000))
  await store.commit([put('meta', 'epoch', epoch)])
  return epoch
}

const inheritedLease = (row: LeaseRow, nowMs: number): Lease => ({
  key: row.key,
  agentId: row.agentId,
  storeId: row.storeId,
  terms: { accountId: row.accountId, memoryBytes: row.memoryBytes, atMostOnce: row.atMostOnce },
  grantedMs: nowMs,
  renewedMs: nowMs,
  lengthMs: limits.leaseMsMax,
  isOver: false,
  silentSinceMs: null,
  isInherited: true,
})

const loadCalls = async (
  store: Store,
  ledger: Ledger,
  termsOf: (funcId: string, revision: number) => Terms | null,
  nowMs: number,
): Promise<void> => {
  const leases = new Map<string, Lease[]>()
  for await (const [, value] of store.scan('lease')) {
    const lease = inheritedLease(parseLeaseRow(value), nowMs)
    bookLease(ledger, lease)
    leases.set(lease.key.call, [...(leases.get(lease.key.call) ?? []), lease])
  }
  for await (const [key, value] of store.scan('call')) {
    const row = parseCallRow(value)
    const terms = termsOf(row.funcId, row.revision)
    if (terms === null || key !== numberKey(row.seq)) {
      throw new HyperError('STATE_DAMAGED', `the stored call ${row.id} has lost its function`)
    }
    enqueue(ledger, { ...callFromRow(row, terms), state: leases.has(row.id) ? 'leased' : 'queued' })
  }
  // A lease whose call is final stands until its container is known to be gone.
  for (const [callId, held] of leases) {
    if (!ledger.calls.has(callId)) for (const lease of held) lease.isOver = true
  }
}

const loadHistory = async (
  store: Store,
  ledger: Ledger,
  caches: Caches,
  nowMs: number,
): Promise<void> => {
  const owed = new Set<string>()
  const fetched = new Set<string>()
  const debts = new Map<string, ReturnType<typeof parseOwedRow>>()
  for await (const [callId, value] of store.scan('owed')) {
    owed.add(callId)
    debts.set(callId, parseOwedRow(value))
  }
  for await (const [, value] of store.scan('history')) {
    const row = parseHistoryRow(value)
    caches.restoreHistory(row)
    const debt = debts.get(row.id)
    if (debt === undefined) continue
    const { key, agentId } = debt
    const untilMs = nowMs + limits.historyMs
    ledger.owed.set(row.id, { key, agentId, row, isInherited: true, untilMs })
  }
  for await (const [key, value] of store.scan('output')) {
    const [funcId = '', seq = ''] = key.split('/')
    caches.restoreOutput(funcId, Number(seq), parseOutputRow(value).bytes)
  }
  for await (const [key] of store.scan('fetched')) fetched.add(key)
  for await (const [key, value] of store.scan('log')) {
    caches.restoreLog(key.split('/')[0] ?? '', parseLine(value))
  }
  caches.finishRestore(owed, fetched, nowMs)
}

/** Fills an empty ledger and empty caches, and proves that nothing stored is missing. Throws STATE_DAMAGED. */
export const loadLedger = async (
  store: Store,
  ledger: Ledger,
  caches: Caches,
  accounts: Iterable<{ readonly id: string; readonly quota: number }>,
  termsOf: (funcId: string, revision: number) => Terms | null,
  nowMs: number,
): Promise<void> => {
  for (const { id, quota } of accounts) addAccount(ledger, id, quota)
  ledger.nextSeq = parseCount((await store.get('meta', 'seq')) ?? 1)
  await loadCalls(store, ledger, termsOf, nowMs)
  await loadHistory(store, ledger, caches, nowMs)
  await store.verify()
}
