/**
 * The books of accounts and functions: how many calls wait and run, how many bytes they hold, which
 * they are. A call is in them from its acceptance to its end; calls.ts enters, moves and takes out.
 */

import { assert } from '../../protocol/assert.ts'
import { createCallList } from './call-list.ts'
import type { Account, Call, FuncCounts, Ledger, LiveState } from './state.ts'

export const accountOf = (ledger: Ledger, accountId: string): Account => {
  const account = ledger.accounts.get(accountId)
  assert(account !== undefined, 'a call’s account is known')
  return account
}

const openCounts = (ledger: Ledger, funcId: string): FuncCounts => {
  const counts: FuncCounts = {
    pending: 0,
    running: 0,
    revisions: new Map(),
    calls: createCallList<Call>(),
  }
  ledger.counts.set(funcId, counts)
  return counts
}

const countsOf = (ledger: Ledger, funcId: string): FuncCounts => {
  const counts = ledger.counts.get(funcId)
  assert(counts !== undefined, 'the function of a live call is counted')
  return counts
}

const holdsNoLease = (state: LiveState): boolean => state === 'queued' || state === 'aside'

const countRevision = (counts: FuncCounts, revision: number, by: number): void => {
  const live = (counts.revisions.get(revision) ?? 0) + by
  if (live === 0) counts.revisions.delete(revision)
  else counts.revisions.set(revision, live)
}

/** With a number above all that are in. */
export const enterBooks = (ledger: Ledger, call: Call): void => {
  const { accountId, funcId, revision } = call.terms
  const counts = ledger.counts.get(funcId) ?? openCounts(ledger, funcId)
  countRevision(counts, revision, 1)
  counts.calls.append(call)
  if (call.state === 'running') counts.running += 1
  else counts.pending += 1
  const account = accountOf(ledger, accountId)
  account.live += 1
  account.payloadBytes += call.payloadBytes
  if (holdsNoLease(call.state)) account.waiting += 1
}

/** From the state that it is in to another. */
export const moveInBooks = (ledger: Ledger, call: Call, to: LiveState): void => {
  const isRunning = call.state === 'running'
  if (isRunning !== (to === 'running')) {
    const counts = countsOf(ledger, call.terms.funcId)
    counts.running += isRunning ? -1 : 1
    counts.pending += isRunning ? 1 : -1
  }
  if (holdsNoLease(call.state) === holdsNoLease(to)) return
  accountOf(ledger, call.terms.accountId).waiting += holdsNoLease(to) ? 1 : -1
}

export const leaveBooks = (ledger: Ledger, call: Call): void => {
  const { accountId, funcId, revision } = call.terms
  const counts = countsOf(ledger, funcId)
  countRevision(counts, revision, -1)
  counts.calls.remove(call)
  if (call.state === 'running') counts.running -= 1
  else counts.pending -= 1
  if (counts.calls.size === 0) ledger.counts.delete(funcId)
  const account = accountOf(ledger, accountId)
  account.live -= 1
  account.payloadBytes -= call.payloadBytes
  if (holdsNoLease(call.state)) account.waiting -= 1
}
