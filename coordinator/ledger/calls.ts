/**
 * The life of a call in the ledger. Each function is one transition; who calls it decides that it
 * happens (step.ts, dispatch.ts, sessions.ts). A transition that is not in the table is a bug.
 *
 *   (none) ── acceptCall ──► queued
 *   queued ── dispatch ──► leased ── started ──► running
 *   queued ── dispatch, to an attempt that is heard of again ──► running
 *   queued | leased | running ── aside.ts ──► aside ── returnToQueue ──► queued (keeps its number)
 *   leased | running ── returnToQueue ──► queued
 *   any ── endCall (ending.ts) ──► ended: it leaves memory, a history row takes its place
 */

import { assert } from '../../protocol/assert.ts'
import { attemptName } from '../../protocol/call.ts'
import { shortText } from '../../protocol/log-line.ts'
import { encodeCallRow, type Trials } from '../call-row.ts'
import { encodeInput } from '../rows.ts'
import { numberKey, put, putBody } from '../store/store.ts'
import { accountOf, enterBooks, leaveBooks, moveInBooks } from './books.ts'
import { delayOf, endFailing, leaveHopeless } from './delay.ts'
import { wake } from './line.ts'
import type { Call, Effect, Grant, Lease, Ledger, LedgerEvent, LiveState, Now } from './state.ts'

const NEXT: Readonly<Record<LiveState, readonly LiveState[]>> = {
  queued: ['aside', 'leased', 'running', 'ended'],
  aside: ['queued', 'ended'],
  leased: ['running', 'queued', 'aside', 'ended'],
  running: ['queued', 'aside', 'ended'],
  ended: [],
}

/** The books follow, and what the call leaves lets go of it. */
export const setState = (ledger: Ledger, call: Call, state: LiveState): void => {
  const from = call.state
  assert(NEXT[from].includes(state), `a call goes from ${from} to ${NEXT[from]}, not to ${state}`)
  if (from === 'aside') leaveHopeless(ledger, call)
  if (state === 'ended') leaveBooks(ledger, call)
  else moveInBooks(ledger, call, state)
  call.state = state
}

/** An attempt of it has started: what failed before it is over. */
export const startCall = (ledger: Ledger, call: Call): void => {
  setState(ledger, call, 'running')
  endFailing(call)
}

const noGrants: readonly Grant[] = Object.freeze([])

const trialsOf = (call: Call): Trials | null => {
  const { granted, lastAttempt, attemptsLost, exitRetries, delay } = call
  const { failedForMs = 0, pauseMs = 0, waitedMs = 0 } = delay ?? {}
  if (lastAttempt === 0 && failedForMs === 0 && waitedMs === 0) return null
  return { granted, lastAttempt, attemptsLost, exitRetries, failedForMs, pauseMs, waitedMs }
}

export const writeCall = (call: Call, effects: Effect[]): void => {
  const { id, acceptedMs, payloadBytes } = call
  const { funcId, revision } = call.terms
  const trials = trialsOf(call)
  const row = encodeCallRow({ id, funcId, revision, acceptedMs, payloadBytes, trials })
  effects.push({ type: 'write', operation: put('call', numberKey(call.seq), row) })
  if (call.delay !== null) call.delay.waitedStoredMs = call.delay.waitedMs
}

/** A call that nothing has happened to yet. */
export const newCall = (
  of: Pick<Call, 'id' | 'seq' | 'terms' | 'acceptedMs' | 'payloadBytes' | 'sync'>,
): Call => ({
  id: of.id,
  seq: of.seq,
  terms: of.terms,
  acceptedMs: of.acceptedMs,
  payloadBytes: of.payloadBytes,
  state: 'queued',
  sync: of.sync,
  granted: noGrants,
  lastAttempt: 0,
  attemptsLost: 0,
  exitRetries: 0,
  delay: null,
})

/** Into memory, with a number above all others. */
export const enterCall = (ledger: Ledger, call: Call): void => {
  ledger.calls.add(call)
  enterBooks(ledger, call)
  if (call.state !== 'queued') return
  const account = accountOf(ledger, call.terms.accountId)
  account.queue.append(call)
  // Where another waits before it, nothing has changed.
  if (account.turn.place === 'idle') wake(ledger, account)
}

export const acceptCall = (
  ledger: Ledger,
  event: Extract<LedgerEvent, { type: 'accept' }>,
  now: Now,
  effects: Effect[],
): void => {
  const { id, terms, sync, payload } = event
  const seq = ledger.nextSeq
  ledger.nextSeq += 1
  const acceptedMs = new Date(now.wall).getTime()
  const call = newCall({ id, seq, terms, acceptedMs, payloadBytes: payload.byteLength, sync })
  enterCall(ledger, call)
  writeCall(call, effects)
  const input = encodeInput({ payload, environment: [...event.environment] })
  effects.push(
    { type: 'write', operation: putBody('input', numberKey(seq), input) },
    { type: 'write', operation: put('meta', 'seq', ledger.nextSeq) },
    logLine(call, 'CALL', { ShortStdin: shortText(payload), Message: event.note }),
    logLine(call, 'PENDING'),
  )
}

/** As people read it. */
export const acceptedOf = (call: Pick<Call, 'acceptedMs'>): string =>
  new Date(call.acceptedMs).toISOString()

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
  if (call.delay !== null || reason !== '') delayOf(call).reason = reason
  const account = accountOf(ledger, call.terms.accountId)
  account.queue.giveBack(call)
  wake(ledger, account)
}

export const leasesOf = (ledger: Ledger, call: Call): Lease[] =>
  call.granted.flatMap((grant) => {
    const lease = ledger.leases.get(attemptName({ call: call.id, ...grant }))
    return lease === undefined ? [] : [lease]
  })
