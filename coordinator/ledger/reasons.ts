/**
 * Why a call waits, for people: told when somebody asks, and to the call's log where the reason's
 * kind is another than it was told last. The log is told of what is set aside at once, of a head
 * without room after a second and then ever more seldom (waiting.ts). To wait for one's turn or for
 * quota is no event.
 */

import type { LogEntry } from '../log-cache.ts'
import { logLine } from './calls.ts'
import { delayOf, heardOf } from './delay.ts'
import { NO_WAIT, type Wait, whyNotPlaced } from './explanation.ts'
import type { Account, Call, Effect, Ledger, Terms } from './state.ts'

/** Asks whyNotPlaced once for all calls of the same terms: a listing has a thousand of them. */
type Explain = (terms: Terms) => Wait

export const createExplain = (ledger: Ledger): Explain => {
  const known = new Map<Terms, Wait>()
  return (terms) => {
    const wait = known.get(terms) ?? whyNotPlaced(ledger, terms)
    known.set(terms, wait)
    return wait
  }
}

const whyQuota = ({ quota, leases }: Account): Wait =>
  quota === 0
    ? { kind: 'paused', text: 'the account is paused: its quota is 0' }
    : { kind: 'quota', text: `quota: ${leases} of ${quota} calls of the account run` }

/** Of a head with quota free. */
const whyHead = (head: Call, explain: Explain): Wait =>
  heardOf(head).length > 0
    ? { kind: 'heard', text: 'an attempt that was lost is heard of again' }
    : explain(head.terms)

/** Nothing to say of a call that does not wait, or is about to be placed. */
export const waitOf = (
  ledger: Ledger,
  call: Call,
  explain: Explain = createExplain(ledger),
): Wait => {
  const { delay, terms } = call
  if (call.state === 'aside') {
    return delay?.isHopeless === true
      ? explain(terms)
      : { kind: 'retry', text: delay?.reason ?? '' }
  }
  const account = ledger.accounts.get(terms.accountId)
  if (call.state !== 'queued' || account === undefined) return NO_WAIT
  if (account.leases >= account.quota) return whyQuota(account)
  const head = account.queue.head()
  if (head === undefined) return NO_WAIT
  const wait = whyHead(head, explain)
  if (head === call || wait.text === '') return wait
  return { ...wait, text: `the first in the queue: ${wait.text}` }
}

export const reasonOf = (ledger: Ledger, call: Call): string => waitOf(ledger, call).text

/** Of the oldest call of a function that waits; '' where none does, or nothing is to be said. */
export const reasonOfFunc = (ledger: Ledger, funcId: string, searchMax: number): string => {
  let looked = 0
  for (const call of ledger.counts.get(funcId)?.calls ?? []) {
    if (call.state === 'queued' || call.state === 'aside') return waitOf(ledger, call).text
    looked += 1
    if (looked >= searchMax) return ''
  }
  return ''
}

/** To the log of a call that waits. */
export const tellWait = (call: Call, { kind, text }: Wait, effects: Effect[]): void => {
  const delay = delayOf(call)
  if (kind === '' || delay.toldKind === kind) return
  delay.toldKind = kind
  const line: Partial<LogEntry> = { Message: text }
  effects.push(logLine(call, 'PENDING', line))
}
