/**
 * What time alone does to calls that wait: with every tick the heads that wait for room, and the
 * calls whose time aside is up, are looked at; the others cost nothing. A call that has waited for
 * its queueTimeout in all fails with the reason. Of those that it looks at it tells the log why they
 * wait (reasons.ts), where that has changed; of heads only few in a tick, as it looks at every agent.
 */

import { limits } from '../../protocol/limits.ts'
import { countWaited, keepHopeless } from './aside.ts'
import { returnToQueue } from './calls.ts'
import { delayOf, heardOf } from './delay.ts'
import { endCall, endingWithout } from './ending.ts'
import { reasonOf, tellWait, waitOf } from './reasons.ts'
import type { Call, Effect, Ledger, Now } from './state.ts'

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
    else if (delay.isHopeless) {
      keepHopeless(ledger, call, now.ms)
      tellWait(call, waitOf(ledger, call), effects)
    } else returnToQueue(ledger, call, delay.reason)
  }
}

const lookAgainMs = (waitedMs: number): number =>
  Math.max(limits.reasonAgainMsMin, waitedMs * limits.reasonAgainRatio)

/** Time has passed for the heads that found no room. */
export const countHeads = (ledger: Ledger, passedMs: number, now: Now, effects: Effect[]): void => {
  let looks = 0
  for (const account of [...ledger.line.blocked.items()]) {
    const head = account.queue.head()
    if (head === undefined || heardOf(head).length > 0) continue
    countWaited(head, passedMs, effects)
    const delay = delayOf(head)
    delay.roomMs += passedMs
    if (isOutOfTime(head)) endUnplaced(ledger, head, now, effects)
    else if (delay.waitedMs >= delay.lookAtMs && looks < limits.reasonsPerTickMax) {
      looks += 1
      delay.lookAtMs = delay.waitedMs + lookAgainMs(delay.waitedMs)
      tellWait(head, waitOf(ledger, head), effects)
    }
  }
}
