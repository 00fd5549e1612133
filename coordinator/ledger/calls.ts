/**
 * The life of a call in the ledger: accepted, queued, set aside, given back, ended. Each function
 * is one transition; who calls it decides that it happens (step.ts, sessions.ts).
 *
 *   (none) ── acceptCall ──► queued ── take by placement ──► leased ── started ──► running
 *   queued ── setAside ──► aside ── returnToQueue ──► queued      (keeps its number)
 *   leased | running ── returnToQueue | setAside ──► queued | aside
 *   any ── endCall (ending.ts) ──► final: the call leaves memory, a history row takes its place
 */

import { assert } from '../../protocol/assert.ts'
import { attemptName } from '../../protocol/call.ts'
import { shortText } from '../../protocol/log-line.ts'
import { type CallRow, encodeInput } from '../rows.ts'
import { numberKey, put, putBody } from '../store.ts'
import type { Account, Call, Effect, FuncCounts, Lease, Ledger, LedgerEvent, Now } from './state.ts'

export const accountOf = (ledger: Ledger, accountId: string): Account => {
  const account = ledger.accounts.get(accountId)
  assert(account !== undefined, 'a call’s account is known')
  return account
}

const countsOf = (ledger: Ledger, funcId: string): FuncCounts => {
  const counts = ledger.counts.get(funcId) ?? { pending: 0, running: 0, revisions: new Map() }
  ledger.counts.set(funcId, counts)
  return counts
}

const isWaiting = (call: Call): boolean => call.state === 'queued' || call.state === 'aside'

const countRevision = (counts: FuncCounts, revision: number, by: number): void => {
  const live = (counts.revisions.get(revision) ?? 0) + by
  if (live === 0) counts.revisions.delete(revision)
  else counts.revisions.set(revision, live)
}

const enterBooks = (ledger: Ledger, call: Call): void => {
  const counts = countsOf(ledger, call.terms.funcId)
  countRevision(counts, call.terms.revision, 1)
  if (call.state === 'running') counts.running += 1
  else counts.pending += 1
  if (!isWaiting(call)) return
  const account = accountOf(ledger, call.terms.accountId)
  account.waiting += 1
  account.waitingBytes += call.payloadBytes
}

export const leaveBooks = (ledger: Ledger, call: Call): void => {
  const counts = countsOf(ledger, call.terms.funcId)
  countRevision(counts, call.terms.revision, -1)
  if (call.state === 'running') counts.running -= 1
  else counts.pending -= 1
  if (counts.pending === 0 && counts.running === 0) ledger.counts.delete(call.terms.funcId)
  if (!isWaiting(call)) return
  const account = accountOf(ledger, call.terms.accountId)
  account.waiting -= 1
  account.waitingBytes -= call.payloadBytes
}

export const setState = (ledger: Ledger, call: Call, state: Call['state']): void => {
  leaveBooks(ledger, call)
  call.state = state
  enterBooks(ledger, call)
}

const rowOf = (call: Call): CallRow => ({
  id: call.id,
  seq: call.seq,
  accountId: call.terms.accountId,
  funcId: call.terms.funcId,
  revision: call.terms.revision,
  accepted: call.accepted,
  payloadBytes: call.payloadBytes,
  granted: call.granted,
  lastAttempt: call.lastAttempt,
  attemptsLost: call.attemptsLost,
  exitRetries: call.exitRetries,
})

export const writeCall = (call: Call, effects: Effect[]): void => {
  effects.push({ type: 'write', operation: put('call', numberKey(call.seq), rowOf(call)) })
}

/** A call in memory, from its row; queued, as every call is that holds no lease. */
export const callFromRow = (row: CallRow, terms: Call['terms']): Call => ({
  id: row.id,
  seq: row.seq,
  terms,
  accepted: row.accepted,
  payloadBytes: row.payloadBytes,
  state: 'queued',
  sync: false,
  granted: row.granted,
  lastAttempt: row.lastAttempt,
  attemptsLost: row.attemptsLost,
  exitRetries: row.exitRetries,
  failingSinceMs: null,
  pauseMs: 0,
  asideSinceMs: 0,
  asideUntilMs: 0,
  isHopeless: false,
  waitedMs: 0,
  roomMs: 0,
  heard: [],
  reason: '',
})

export const enqueue = (ledger: Ledger, call: Call): void => {
  ledger.calls.set(call.id, call)
  enterBooks(ledger, call)
  if (call.state === 'queued') accountOf(ledger, call.terms.accountId).queue.append(call)
}

export const acceptCall = (
  ledger: Ledger,
  event: Extract<LedgerEvent, { type: 'accept' }>,
  now: Now,
  effects: Effect[],
): void => {
  assert(!ledger.calls.has(event.id), 'call ids are unique')
  const seq = ledger.nextSeq
  ledger.nextSeq += 1
  const { terms } = event
  const call: Call = {
    ...callFromRow(
      {
        id: event.id,
        seq,
        accountId: terms.accountId,
        funcId: terms.funcId,
        revision: terms.revision,
        accepted: now.wall,
        payloadBytes: event.payload.byteLength,
        granted: [],
        lastAttempt: 0,
        attemptsLost: 0,
        exitRetries: 0,
      },
      terms,
    ),
    sync: event.sync,
  }
  enqueue(ledger, call)
  writeCall(call, effects)
  const { payload } = event
  const input = encodeInput({ payload, environment: [...event.environment] })
  effects.push(
    { type: 'write', operation: putBody('input', numberKey(seq), input) },
    { type: 'write', operation: put('meta', 'seq', ledger.nextSeq) },
    logLine(call, 'CALL', { ShortStdin: shortText(payload), Message: event.note }),
    logLine(call, 'PENDING'),
  )
}

type LogEffect = Extract<Effect, { type: 'log' }>
type Line = LogEffect['line']

export const logLine = (
  call: Pick<Call, 'id' | 'terms'>,
  event: Line['Event'],
  rest: Partial<Line> = {},
): LogEffect => ({
  type: 'log',
  funcId: call.terms.funcId,
  line: {
    Event: event,
    CallId: call.id,
    ShortStdin: '',
    ShortStdout: '',
    ShortStderr: '',
    Message: '',
    ...rest,
  },
})

/** The call goes back to its place; its number decides where that is. */
export const returnToQueue = (ledger: Ledger, call: Call, reason: string): void => {
  if (call.state === 'queued') return
  setState(ledger, call, 'queued')
  call.reason = reason
  accountOf(ledger, call.terms.accountId).queue.giveBack(call)
}

/** Out of the queue for a while, with its reason: a recorded event, so others may pass it. */
export const setAside = (
  ledger: Ledger,
  call: Call,
  nowMs: number,
  pauseMs: number,
  reason: string,
): void => {
  setState(ledger, call, 'aside')
  call.isHopeless = false
  call.asideSinceMs = nowMs
  call.asideUntilMs = nowMs + pauseMs
  call.reason = reason
  ledger.aside.push({ call, untilMs: call.asideUntilMs })
}

export const leasesOf = (ledger: Ledger, call: Call): Lease[] =>
  call.granted.flatMap((grant) => {
    const lease = ledger.leases.get(attemptName({ call: call.id, ...grant }))
    return lease === undefined ? [] : [lease]
  })

export const isLive = (ledger: Ledger, call: Call): boolean => ledger.calls.get(call.id) === call
