/**
 * The accounts in line for a lease: those with a call that waits and quota left for it, the lowest
 * running/quota first, ties by the oldest head.
 *
 *   idle      nothing waits, or the quota is used up
 *   ready     its head is to be looked at by the next dispatch
 *   passed    its head was looked at in the dispatch that is under way, and fits nowhere
 *   blocked   the same, of an earlier one: looked at again when room is gained, and not before
 *
 *   any ── wake ──► ready | idle        its head, its leases or its quota changed
 *   ready | blocked ── pass ──► passed ── block ──► blocked
 *
 * So a call that comes behind a blocked head costs nothing but its place in the queue, and an event
 * that changes neither an account nor room costs no placement at all. An account's place in line is
 * that of the moment it was woken: whatever changes it wakes the account.
 */

import { createHeap, type Heap } from './heap.ts'
import type { Account, Agent, Ledger, Terms } from './state.ts'

export interface Turn {
  place: 'idle' | 'ready' | 'passed' | 'blocked'
  /** Running/quota, and the head's number, when it was woken. */
  share: number
  headSeq: number
  /** Where it stands in its heap. */
  at: number
  /** What a member could run when the membership was that: heads are often of one function. */
  ableTerms: Terms | null
  ableAt: number
}

export interface Line {
  readonly ready: Heap<Account>
  readonly blocked: Heap<Account>
  /** Counts the gains of room; those that the blocked ones have been looked at for. */
  gains: number
  gainsServed: number
}

export const newTurn = (): Turn => ({
  place: 'idle',
  share: 0,
  headSeq: 0,
  at: 0,
  ableTerms: null,
  ableAt: 0,
})

const isBefore = ({ turn: left }: Account, { turn: right }: Account): boolean =>
  left.share < right.share || (left.share === right.share && left.headSeq < right.headSeq)

const createPlaces = (): Heap<Account> =>
  createHeap<Account>(isBefore, (account, at) => {
    account.turn.at = at
  })

export const createLine = (): Line => ({
  ready: createPlaces(),
  blocked: createPlaces(),
  gains: 0,
  gainsServed: 0,
})

export const leaveLine = (line: Line, { turn }: Account): void => {
  if (turn.place === 'ready') line.ready.removeAt(turn.at)
  if (turn.place === 'blocked') line.blocked.removeAt(turn.at)
  turn.place = 'idle'
}

/** Something about the account changed: it is looked at by the next dispatch, if it has a turn. */
export const wake = ({ line }: Pick<Ledger, 'line'>, account: Account): void => {
  leaveLine(line, account)
  const head = account.leases < account.quota ? account.queue.head() : undefined
  if (head === undefined) return
  const { turn } = account
  turn.place = 'ready'
  turn.share = account.leases / account.quota
  turn.headSeq = head.seq
  line.ready.push(account)
}

/** Its head fits nowhere now. */
export const pass = (line: Line, account: Account): void => {
  leaveLine(line, account)
  account.turn.place = 'passed'
}

export const block = (line: Line, account: Account): void => {
  // It may have been woken, or have left, since it was passed.
  if (account.turn.place !== 'passed') return
  account.turn.place = 'blocked'
  line.blocked.push(account)
}

/** Room came up somewhere: the blocked ones are looked at again, while anybody has room. */
export const gainRoom = (line: Line): void => {
  line.gains += 1
}

/** Who could run what has changed: every head is looked at again, room or not. */
export const changeMembership = (ledger: Pick<Ledger, 'line' | 'membership'>): void => {
  ledger.membership += 1
  for (const account of [...ledger.line.blocked.items()]) wake(ledger, account)
}

/** Who is to be looked at next; undefined when nobody's look could change anything. */
export const nextInLine = (line: Line, roomy: readonly Agent[]): Account | undefined => {
  const ready = line.ready.peek()
  if (line.gains === line.gainsServed || roomy.length === 0) return ready
  const blocked = line.blocked.peek()
  if (ready === undefined || blocked === undefined) return ready ?? blocked
  return isBefore(blocked, ready) ? blocked : ready
}
