/**
 * What time alone does to calls that wait: with every tick the heads that wait for room, and the
 * calls whose time aside is up, are looked at; the others cost nothing. A call that has waited for
 * its queueTimeout in all fails with the reason.
 */

import { countWaited, keepHopeless } from './aside.ts'
import { returnToQueue } from './calls.ts'
import { delayOf, heardOf } from './delay.ts'
import { endCall, endingWithout } from './ending.ts'
import { whyNotPlaced } from './placement.ts'
import type { Call, Effect, Ledger, Now } from './state.ts'

/** Why a call waits, for people; '' where nothing is to be said. Asked for when somebody looks. */
export const reasonOf = (ledger: Ledger, call: Call): string => {
  const isHopeless = call.delay?.isHopeless === true
  const turn = ledger.accounts.get(call.terms.accountId)?.turn
  const isBlocked = turn?.place === 'blocked' && turn.headSeq === call.seq
  if (isBlocked && heardOf(call).length > 0) return 'an attempt that was lost is heard of again'
  if (isHopeless || isBlocked) return whyNotPlaced(ledger.agents.values(), call.terms)
  return call.delay?.reason ?? ''
}

const isOutOfTime = (call: Call): boolean => delayOf(call).waitedMs >= call.terms.queueTimeoutMs

const endUnplaced = (ledger: Ledger, call: Call, now: Now, effects: Effect[]): void => {
  const why = `not placed within ${call.terms.queueTimeoutMs / 1000} s: ${reasonOf(ledger, call)}`
  endCall(ledger, call, endingWithout(call, 'NOT_PLACED', why), now, effects)
}

/** Pauses that are over: back to the queue, or out of time. */
export const returnAside = (ledger: Ledger, now: Now, effects: Effect[]): void => {
  for (let next = ledger.aside.peek(); next !== undefined; next = ledger.aside.peek()) {
    if (next.untilMs > now.ms) return
    ledger.aside.pop()
    const { call } = next
    const delay = delayOf(call)
    if (call.state !== 'aside' || delay.asideUntilMs !== next.untilMs) continue
    countWaited(call, now.ms - delay.asideSinceMs, effects)
    if (isOutOfTime(call)) endUnplaced(ledger, call, now, effects)
    else if (delay.isHopeless) keepHopeless(ledger, call, now.ms)
    else returnToQueue(ledger, call, delay.reason)
  }
}

/** Time has passed for the heads that found no room. */
export const countHeads = (ledger: Ledger, passedMs: number, now: Now, effects: Effect[]): void => {
  for (const account of [...ledger.line.blocked.items()]) {
    const head = account.queue.head()
    if (head === undefined || heardOf(head).length > 0) continue
    countWaited(head, passedMs, effects)
    delayOf(head).roomMs += passedMs
    if (isOutOfTime(head)) endUnplaced(ledger, head, now, effects)
  }
}
