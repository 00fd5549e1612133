/**
 * From the rows on disk to the ledger in memory, at start; for the caches see load-caches.ts. Calls
 * come back in the order of their numbers; those that hold a lease stay leased: every lease counts
 * as renewed at this moment for the longest length, until its agent reports (a restart costs no
 * work). Every table is read once, and proven to be whole by the same reading.
 */

import Type from 'typebox'
import { limits } from '../protocol/limits.ts'
import { createParser } from '../protocol/schema.ts'
import type { Caches } from './caches.ts'
import { type CallRow, parseCallRow } from './call-row.ts'
import { restoreCall } from './ledger/aside.ts'
import { bookLease, markOver } from './ledger/leases.ts'
import type { Lease, Ledger, Terms } from './ledger/state.ts'
import { addAccount } from './ledger/step.ts'
import { loadCaches } from './load-caches.ts'
import { type OnLoss, refuseLoss } from './losses.ts'
import { type LeaseRow, parseLeaseRow } from './rows.ts'
import { del, delBody, put, type Store } from './store/store.ts'

const parseCount = createParser(Type.Integer({ minimum: 0 }), 'STATE_DAMAGED', 'stored number')

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
  isDoubtful: false,
})

/** One object for all calls of a revision, found without a search for each of them. */
const createTermsLookup = (termsOf: (funcId: string, revision: number) => Terms | null) => {
  const known = new Map<string, Map<number, Terms>>()
  return (row: CallRow): Terms | null => {
    const terms = known.get(row.funcId)?.get(row.revision) ?? termsOf(row.funcId, row.revision)
    if (terms === null) return null
    const revisions = known.get(row.funcId) ?? new Map<number, Terms>()
    if (!revisions.has(row.revision)) known.set(row.funcId, revisions.set(row.revision, terms))
    return terms
  }
}

const loadCalls = async (
  store: Store,
  ledger: Ledger,
  termsOf: (funcId: string, revision: number) => Terms | null,
  nowMs: number,
  onLoss: OnLoss,
): Promise<void> => {
  const leases = new Map<string, Lease[]>()
  await store.scan('lease', (_key, value) => {
    const lease = inheritedLease(parseLeaseRow(value), nowMs)
    bookLease(ledger, lease)
    leases.set(lease.key.call, [...(leases.get(lease.key.call) ?? []), lease])
  })
  const lookUpTerms = createTermsLookup(termsOf)
  await store.scan('call', (key, value) => {
    const row = parseCallRow(value)
    const terms = lookUpTerms(row)
    const seq = Number(key)
    if (terms === null || !ledger.accounts.has(terms.accountId) || !Number.isSafeInteger(seq)) {
      const operations = [del('call', key), delBody('input', key)]
      onLoss({ what: `the call ${row.id} has lost its function`, operations })
      return
    }
    // Most starts have none, and to look up an id costs the hash of it.
    const isLeased = leases.size > 0 && leases.has(row.id)
    restoreCall(ledger, row, seq, terms, isLeased, nowMs)
  })
  // A lease whose call is final stands until its container is known to be gone.
  for (const [callId, held] of leases) {
    if (!ledger.calls.has(callId)) for (const lease of held) markOver(lease)
  }
}

/** A number given twice would make two calls one: a counter that is behind is a loss, too. */
const checkCounter = (ledger: Ledger, caches: Caches, onLoss: OnLoss): void => {
  let last = caches.lastSeq()
  for (const { seq } of ledger.calls.values()) last = Math.max(last, seq)
  if (last < ledger.nextSeq) return
  ledger.nextSeq = last + 1
  const operations = [put('meta', 'seq', ledger.nextSeq)]
  onLoss({ what: 'the number of the next call was lost', operations })
}

/**
 * Fills an empty ledger and empty caches. Throws STATE_DAMAGED for a row that cannot be read; one that
 * has lost what it belongs to is left out and told.
 */
export const loadLedger = async (
  store: Store,
  ledger: Ledger,
  caches: Caches,
  accounts: Iterable<{ readonly id: string; readonly quota: number }>,
  termsOf: (funcId: string, revision: number) => Terms | null,
  nowMs: number,
  hasFunc: (funcId: string) => boolean = () => true,
  onLoss: OnLoss = refuseLoss,
): Promise<void> => {
  for (const { id, quota } of accounts) addAccount(ledger, id, quota)
  ledger.nextSeq = parseCount((await store.get('meta', 'seq')) ?? 1)
  await loadCalls(store, ledger, termsOf, nowMs, onLoss)
  await loadCaches({ store, ledger, caches, hasFunc, onLoss, nowMs })
  checkCounter(ledger, caches, onLoss)
}
