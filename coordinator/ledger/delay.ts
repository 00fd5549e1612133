/**
 * What has kept a call from running, beyond its place in the queue: failures of the platform and
 * the pauses after them, no member that could ever run it, time spent as a head without room,
 * attempts that are heard of again. Most calls never have any of it, so a call has it apart.
 */

import type { AttemptKey } from '../../protocol/call.ts'
import { limits } from '../../protocol/limits.ts'
import type { WaitKind } from './explanation.ts'
import type { Call, Ledger } from './state.ts'

interface Heard {
  readonly key: AttemptKey
  readonly agentId: string
}

export interface Delay {
  /** How long the platform has failed it on end: its attempts and pauses, not its time in the queue. */
  failedForMs: number
  pauseMs: number
  asideSinceMs: number
  asideUntilMs: number
  /** Aside because no member could run it: a member that could brings it back at once. */
  isHopeless: boolean
  /** How long it was head with quota free, or aside: what queueTimeout counts. */
  waitedMs: number
  /** What the disk knows of it. */
  waitedStoredMs: number
  /** How long it was head with quota free and found no room: what a reservation waits for. */
  roomMs: number
  /** Lost attempts that are heard of again: it is not started elsewhere meanwhile. */
  heard: readonly Heard[]
  /** Why it waits, for people, where it is not for want of room. */
  reason: string
  /** Of what kind the reason was that its log was told last. */
  toldKind: WaitKind
  /** As a head it is looked at for its reason when it has waited so long. */
  lookAtMs: number
}

const none: readonly Heard[] = Object.freeze([])

export const newDelay = (): Delay => ({
  failedForMs: 0,
  pauseMs: 0,
  asideSinceMs: 0,
  asideUntilMs: 0,
  isHopeless: false,
  waitedMs: 0,
  waitedStoredMs: 0,
  roomMs: 0,
  heard: none,
  reason: '',
  toldKind: '',
  lookAtMs: limits.reasonAfterMs,
})

/** Made where the call has none. */
export const delayOf = (call: Call): Delay => {
  call.delay ??= newDelay()
  return call.delay
}

export const heardOf = (call: Pick<Call, 'delay'>): readonly Heard[] => call.delay?.heard ?? none

/** An attempt of it has started: the platform fails it no more. */
export const endFailing = ({ delay }: Call): void => {
  if (delay === null) return
  delay.toldKind = ''
  delay.failedForMs = 0
  delay.pauseMs = 0
}

export const enterHopeless = (ledger: Ledger, call: Call): void => {
  delayOf(call).isHopeless = true
  const alike = ledger.hopeless.get(call.terms) ?? new Set()
  ledger.hopeless.set(call.terms, alike.add(call))
}

export const leaveHopeless = (ledger: Ledger, call: Call): void => {
  if (call.delay?.isHopeless !== true) return
  call.delay.isHopeless = false
  const alike = ledger.hopeless.get(call.terms)
  alike?.delete(call)
  if (alike?.size === 0) ledger.hopeless.delete(call.terms)
}
