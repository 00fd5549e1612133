/**
 * The end of a call: its one final state. The call leaves memory, a history row takes its place, and
 * its other attempts are cancelled; their leases stand until their containers are gone.
 */

import { type AttemptKey, finalStateOf, type Outcome } from '../../protocol/call.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { decodeText, shortText } from '../../protocol/log-line.ts'
import type { HistoryRow } from '../rows.ts'
import { del, delBody, numberKey, put } from '../store/store.ts'
import { accountOf } from './books.ts'
import { acceptedOf, leasesOf, logLine, setState } from './calls.ts'
import { unhearAll } from './grants.ts'
import { markOver } from './leases.ts'
import { wake } from './line.ts'
import type { Call, Effect, Lease, Ledger, Now } from './state.ts'

const empty = new Uint8Array()
const utf8 = new TextEncoder()

export interface Ending {
  readonly code: ErrorCode
  readonly exitCode: number | null
  readonly message: string
  /** STDOUT of a finished call. */
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  readonly key: AttemptKey
  /** '' where it is no agent's word: then nothing of it can be owed. */
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

/** STDOUT of a finished call; else the text that says why not, with the start of STDERR. */
export const bodyOf = (
  ending: Pick<Ending, 'code' | 'stdout' | 'stderr' | 'message'>,
): Uint8Array => {
  if (finalStateOf(ending.code) === 'finished') return ending.stdout
  if (ending.stderr.byteLength === 0) return utf8.encode(ending.message)
  const quote = decodeText(ending.stderr.subarray(0, limits.failureQuoteBytesMax))
  return utf8.encode(`${ending.message}\n${quote}`)
}

const fits = (text: string): boolean =>
  Buffer.byteLength(JSON.stringify(text)) <= limits.historyMessageBytesMax

/** What a history row can hold; the body has the whole message. */
const inShort = (message: string): string => {
  if (fits(message)) return message
  let text = message.slice(0, limits.historyMessageBytesMax)
  // What is written as an escape takes six bytes for one character.
  while (!fits(`${text}…`)) text = text.slice(0, Math.floor(text.length * 0.9))
  return `${text}…`
}

const historyRowOf = (call: Call, ending: Ending, now: Now): HistoryRow => ({
  id: call.id,
  seq: call.seq,
  funcId: call.terms.funcId,
  accountId: call.terms.accountId,
  accepted: acceptedOf(call),
  ended: now.wall,
  // A call that ended before any was granted had none.
  attempt: ending.agentId === '' ? call.lastAttempt : ending.key.attempt,
  outcome: {
    state: finalStateOf(ending.code),
    code: ending.code,
    exitCode: ending.exitCode,
    message: inShort(ending.message),
  },
})

const lastLine = (call: Call, ending: Ending, outcome: Outcome): Effect => {
  const { stdout, stderr, message } = ending
  const shown =
    outcome.state === 'finished'
      ? logLine(call, 'FINISHED', {
          ShortStdout: shortText(stdout),
          ShortStderr: shortText(stderr),
        })
      : logLine(call, 'FAILED', { Message: message, ShortStderr: shortText(stderr) })
  return { ...shown, end: { seq: call.seq, stderr } }
}

/** Ends the call. The body of one that a client waits for is owed to it first. */
export const endCall = (
  ledger: Ledger,
  call: Call,
  ending: Ending,
  now: Now,
  effects: Effect[],
): void => {
  const { key, agentId } = ending
  const body = bodyOf(ending)
  const row = historyRowOf(call, ending, now)
  const { outcome, funcId, seq } = row
  // Only what an agent still keeps can be owed: the rest is written at once.
  const isOwed = call.sync && agentId !== ''
  for (const lease of leasesOf(ledger, call)) {
    markOver(lease)
    cancelLease(ledger, lease, effects)
  }
  unhearAll(ledger, call)
  leaveQueue(ledger, call)
  ledger.calls.delete(call)
  if (isOwed) {
    ledger.owed.set(call.id, { key, agentId, row, isInherited: false, untilMs: Infinity })
    effects.push({ type: 'write', operation: put('owed', call.id, { funcId, seq, key, agentId }) })
  }
  effects.push(
    { type: 'write', operation: del('call', numberKey(seq)) },
    { type: 'write', operation: delBody('input', numberKey(seq)) },
    { type: 'ended', row, body, isOwed },
    lastLine(call, ending, outcome),
    { type: 'final', callId: call.id, attempt: row.attempt, outcome, body },
  )
}

/** What still holds the call (a queue skips it, a heap drops it) sees that it has ended. */
const leaveQueue = (ledger: Ledger, call: Call): void => {
  const wasQueued = call.state === 'queued'
  setState(ledger, call, 'ended')
  if (!wasQueued) return
  const account = accountOf(ledger, call.terms.accountId)
  account.queue.leave()
  if (account.turn.headSeq === call.seq) wake(ledger, account)
}

/** Tells the agent, if it is here; if not, it is told at its next hello. */
const cancelLease = (ledger: Ledger, lease: Lease, effects: Effect[]): void => {
  const agent = ledger.agents.get(lease.agentId)
  if (agent === undefined || agent.session === 0) return
  effects.push({
    type: 'send',
    agentId: agent.id,
    order: { type: 'cancel', session: agent.session, key: lease.key },
  })
}
