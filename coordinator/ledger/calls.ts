/**
 * The life of a call in the ledger: accepted, queued, set aside, given back, ended. Each function
 * is one transition; who calls it decides that it happens (step.ts, sessions.ts).
 *
 *   (none) ── acceptCall ──► queued ── take by placement ──► leased ── started ──► running
 *   queued ── setAside ──► aside ── returnToQueue ──► queued      (keeps its number)
 *   leased | running ── returnToQueue | setAside ──► queued | aside
 *   any ── endCall ──► final: the call leaves memory, a history row takes its place
 */

import { assert } from '../../protocol/assert.ts'
import { type AttemptKey, attemptName, finalStateOf, type Outcome } from '../../protocol/call.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { shortText } from '../../protocol/log-line.ts'
import type { CallRow, HistoryRow } from '../rows.ts'
import { del, numberKey, put } from '../store.ts'

import type { Account, Call, Effect, FuncCounts, Lease, Ledger, LedgerEvent, Now } from './state.ts'

const empty = new Uint8Array()
const utf8 = new TextEncoder()

export const accountOf = (ledger: Ledger, accountId: string): Account => {
  const account = ledger.accounts.get(accountId)
  assert(account !== undefined, 'a call’s account is known')
  return account
}

export const countsOf = (ledger: Ledger, funcId: string): FuncCounts => {
  const counts = ledger.counts.get(funcId) ?? { pending: 0, running: 0 }
  ledger.counts.set(funcId, counts)
  return counts
}

const isWaiting = (call: Call): boolean => call.state === 'queued' || call.state === 'aside'

const enterBooks = (ledger: Ledger, call: Call): void => {
  const counts = countsOf(ledger, call.terms.funcId)
  if (call.state === 'running') counts.running += 1
  else counts.pending += 1
  if (!isWaiting(call)) return
  const account = accountOf(ledger, call.terms.accountId)
  account.waiting += 1
  account.waitingBytes += call.payloadBytes
}

const leaveBooks = (ledger: Ledger, call: Call): void => {
  const counts = countsOf(ledger, call.terms.funcId)
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

/** A call in memory, from its row; queued, as every call is until leases and agents tell more. */
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
  waitedMs: 0,
  heard: null,
  reason: '',
})

export const enqueue = (ledger: Ledger, call: Call): void => {
  ledger.calls.set(call.id, call)
  enterBooks(ledger, call)
  accountOf(ledger, call.terms.accountId).queue.append(call)
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
  const stored = { payload: event.payload, environment: [...event.environment] }
  effects.push(
    { type: 'write', operation: put('payload', numberKey(seq), stored) },
    { type: 'write', operation: put('meta', 'seq', ledger.nextSeq) },
    logLine(call, 'CALL', { ShortStdin: shortText(event.payload), Message: event.note }),
    logLine(call, 'PENDING'),
    { type: 'accepted', callId: call.id },
  )
}

type Line = Extract<Effect, { type: 'log' }>['line']

export const logLine = (
  call: Pick<Call, 'id' | 'terms'>,
  event: Line['Event'],
  rest: Partial<Line> = {},
): Effect => ({
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

export interface Ending {
  readonly code: ErrorCode
  readonly exitCode: number | null
  readonly message: string
  /** STDOUT of a finished call. */
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  readonly key: AttemptKey
  readonly agentId: string
}

export const endingWithout = (call: Call, code: ErrorCode, message: string): Ending => ({
  code,
  exitCode: null,
  message,
  stdout: empty,
  stderr: empty,
  key: { call: call.id, attempt: Math.max(1, call.lastAttempt), epoch: 0 },
  agentId: '',
})

/**
 * The one final state. Other attempts of the call are cancelled; their leases stand until their
 * containers are gone. `isOwed` says that the body goes to a waiting client first.
 */
export const endCall = (
  ledger: Ledger,
  call: Call,
  ending: Ending,
  now: Now,
  effects: Effect[],
): void => {
  const state = finalStateOf(ending.code)
  const outcome: Outcome = {
    state,
    code: ending.code,
    exitCode: ending.exitCode,
    message: ending.message,
  }
  const body = state === 'finished' ? ending.stdout : utf8.encode(ending.message)
  // Only what an agent still keeps can be owed: the rest is written at once.
  const isOwed = call.sync && ending.agentId !== ''
  const row: HistoryRow = {
    id: call.id,
    seq: call.seq,
    funcId: call.terms.funcId,
    accountId: call.terms.accountId,
    accepted: call.accepted,
    ended: now.wall,
    attempt: ending.key.attempt,
    outcome,
  }
  for (const lease of leasesOf(ledger, call)) {
    lease.isOver = true
    cancelLease(ledger, lease, effects)
  }
  leaveBooks(ledger, call)
  ledger.calls.delete(call.id)
  // What still holds the object (a queue skips it, a heap drops it) sees that it is over.
  call.granted = []
  if (isOwed) {
    const debt = { funcId: row.funcId, seq: row.seq, key: ending.key, agentId: ending.agentId }
    ledger.owed.set(call.id, { key: ending.key, agentId: ending.agentId, row })
    effects.push({ type: 'write', operation: put('owed', call.id, debt) })
  }
  effects.push(
    { type: 'write', operation: del('call', numberKey(call.seq)) },
    { type: 'write', operation: del('payload', numberKey(call.seq)) },
    { type: 'ended', row, body, isOwed },
    state === 'finished'
      ? logLine(call, 'FINISHED', {
          ShortStdout: shortText(ending.stdout),
          ShortStderr: shortText(ending.stderr),
        })
      : logLine(call, 'FAILED', { Message: ending.message, ShortStderr: shortText(ending.stderr) }),
    { type: 'final', callId: call.id, attempt: ending.key.attempt, outcome, body },
  )
}

/** Tells the agent, if it is here; if not, it is told at its next hello. */
export const cancelLease = (ledger: Ledger, lease: Lease, effects: Effect[]): void => {
  const agent = ledger.agents.get(lease.agentId)
  if (agent === undefined || agent.session === 0) return
  effects.push({
    type: 'send',
    agentId: agent.id,
    order: { type: 'cancel', session: agent.session, key: lease.key },
  })
}

export const isLive = (ledger: Ledger, call: Call): boolean => ledger.calls.get(call.id) === call
