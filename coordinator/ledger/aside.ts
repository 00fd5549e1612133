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

import { imageKey } from '../../protocol/image.ts'
import { limits } from '../../protocol/limits.ts'
import type { CallRow, Trials } from '../call-row.ts'
import { enterCall, newCall, returnToQueue, setState, writeCall } from './calls.ts'
import { type Delay, delayOf, enterHopeless, newDelay } from './delay.ts'
import { forgetExclusions } from './exclusions.ts'
import { whyNotPlaced } from './explanation.ts'
import { changeMembership } from './line.ts'
import { couldRun } from './placement.ts'
import { tellWait } from './reasons.ts'
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
  effects: Effect[],
): void => {
  setState(ledger, call, 'aside')
  delayOf(call).reason = reason
  keepAside(ledger, call, nowMs, pauseMs)
  tellWait(call, { kind: 'retry', text: reason }, effects)
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
export const setHopeless = (ledger: Ledger, call: Call, nowMs: number, effects: Effect[]): void => {
  setState(ledger, call, 'aside')
  enterHopeless(ledger, call)
  keepHopeless(ledger, call, nowMs)
  tellWait(call, whyNotPlaced(ledger, call.terms), effects)
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

/** Images that it did not get for want of credentials: it may be asked again. */
const readmit = (
  ledger: Ledger,
  agent: Agent,
  isOver: Parameters<typeof forgetExclusions>[1],
): void => {
  if (agent.excluded.size === 0 || !forgetExclusions(agent, isOver)) return
  changeMembership(ledger)
  bringBackHopeless(ledger, agent)
}

/** What it holds it needs no credentials for. */
export const readmitHolder = (ledger: Ledger, agent: Agent): void =>
  readmit(ledger, agent, ({ image }) => agent.images.has(imageKey(image)))

/** The account gave credentials: they may be other ones. */
export const readmitAccount = (ledger: Ledger, accountId: string): void => {
  for (const agent of ledger.agents.values()) {
    readmit(ledger, agent, (wanted) => wanted.accountId === accountId)
  }
}
