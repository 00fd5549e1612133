/**
 * Calls out of the queue for a while, with a reason: a recorded event, so others may pass them.
 *
 *   queued | leased | running ── setAside ──► aside ── pause over, or heard of again ──► queued
 *   queued ── setHopeless ──► aside ── a member that could run it comes, or the last one goes ──► queued
 *   queued as head with quota free, or aside, for queueTimeout in all ──► ended (waiting.ts)
 *
 * The time that queueTimeout counts is written in steps (a minute, then a tenth of what is written),
 * so a restart forgets no more of it than one step, and a wait of a day costs some eighty writes.
 */

import { limits } from '../../protocol/limits.ts'
import type { CallRow, Trials } from '../call-row.ts'
import { enterCall, newCall, returnToQueue, setState, writeCall } from './calls.ts'
import { type Delay, delayOf, enterHopeless, newDelay } from './delay.ts'
import { couldRun } from './placement.ts'
import type { Agent, Call, Effect, Ledger, Terms } from './state.ts'

/** A call set aside until then; outdated where the call's own time differs. */
export interface Aside {
  readonly call: Call
  readonly untilMs: number
}

/** Of a call that is aside: until when. */
const keepAside = (ledger: Ledger, call: Call, nowMs: number, pauseMs: number): void => {
  const delay = delayOf(call)
  delay.asideSinceMs = nowMs
  delay.asideUntilMs = nowMs + pauseMs
  ledger.aside.push({ call, untilMs: delay.asideUntilMs })
}

export const setAside = (
  ledger: Ledger,
  call: Call,
  nowMs: number,
  pauseMs: number,
  reason: string,
): void => {
  setState(ledger, call, 'aside')
  delayOf(call).reason = reason
  keepAside(ledger, call, nowMs, pauseMs)
}

const waitedStepMs = ({ waitedStoredMs }: Delay): number =>
  Math.max(limits.waitedStepMsMin, waitedStoredMs * limits.waitedStepRatio)

/** Time has passed that queueTimeout counts. */
export const countWaited = (call: Call, ms: number, effects: Effect[]): void => {
  const delay = delayOf(call)
  delay.waitedMs += ms
  if (delay.waitedMs - delay.waitedStoredMs >= waitedStepMs(delay)) writeCall(call, effects)
}

/**
 * Until its time is up, or is to be written. At least a millisecond: of times that were added up so
 * little can be left that it adds nothing to the clock, and the pause would be over for ever.
 */
export const keepHopeless = (ledger: Ledger, call: Call, nowMs: number): void => {
  const delay = delayOf(call)
  const leftMs = Math.max(1, call.terms.queueTimeoutMs - delay.waitedMs)
  keepAside(ledger, call, nowMs, Math.min(waitedStepMs(delay), leftMs))
}

/** No member could ever run it. */
export const setHopeless = (ledger: Ledger, call: Call, nowMs: number): void => {
  setState(ledger, call, 'aside')
  enterHopeless(ledger, call)
  keepHopeless(ledger, call, nowMs)
}

/**
 * A call from its row. It holds the lease that stands, or waits: a pause that it was in begins anew,
 * since how much of it was left is not known.
 */
export const restoreCall = (
  ledger: Ledger,
  row: CallRow,
  seq: number,
  terms: Terms,
  isLeased: boolean,
  nowMs: number,
): void => {
  const { id, acceptedMs, payloadBytes, trials } = row
  const call = newCall({ id, seq, terms, acceptedMs, payloadBytes, sync: false })
  if (isLeased) call.state = 'leased'
  if (trials !== null) restoreTrials(call, trials)
  const pauseMs = isLeased ? 0 : (trials?.pauseMs ?? 0)
  if (pauseMs > 0) call.state = 'aside'
  enterCall(ledger, call)
  if (pauseMs > 0) keepAside(ledger, call, nowMs, pauseMs)
}

const restoreTrials = (call: Call, trials: Trials): void => {
  const { failedForMs, pauseMs, waitedMs } = trials
  call.granted = trials.granted
  call.lastAttempt = trials.lastAttempt
  call.attemptsLost = trials.attemptsLost
  call.exitRetries = trials.exitRetries
  if (failedForMs + pauseMs + waitedMs === 0) return
  call.delay = { ...newDelay(), failedForMs, pauseMs, waitedMs, waitedStoredMs: waitedMs }
  if (pauseMs > 0) call.delay.reason = 'the platform failed it before the coordinator’s start'
}

/** What this member could run waits for its turn again; null where there is no member any more. */
export const bringBackHopeless = (ledger: Ledger, agent: Agent | null): void => {
  for (const [terms, calls] of ledger.hopeless) {
    if (agent !== null && !couldRun(agent, terms)) continue
    for (const call of calls) returnToQueue(ledger, call, '')
  }
}
