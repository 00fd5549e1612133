/**
 * The coordinator's decisions: step(ledger, event, now) changes the ledger and returns what is to
 * be done about it. No I/O, no clock, no randomness, no promise: the shell (coordinator/transactions.ts)
 * performs the effects, writes first (commit-loop.ts), so that a simulation can do the same.
 *
 * After every event that can free or add room, what fits is placed (placement.ts). The states of a
 * call are in calls.ts, of a lease in leases.ts, of an agent's session in sessions.ts.
 */

import { assert, assertNever } from '../../protocol/assert.ts'
import { type AttemptKey, attemptName } from '../../protocol/call.ts'
import { limits } from '../../protocol/limits.ts'
import { acceptCall, accountOf, isLive, logLine, returnToQueue, setState } from './calls.ts'
import { dispatch } from './dispatch.ts'
import { endCall, endingWithout } from './ending.ts'
import { unhearAgent } from './grants.ts'
import { createHeap } from './heap.ts'
import { endLease, leaseOf } from './leases.ts'
import { expireLeases, forgiveSilence } from './lost.ts'
import { createQueue } from './queue.ts'
import { renewReservations } from './reservations.ts'
import { commitResult, expireOwed, giveUpOwed, settleDelivery } from './results.ts'
import {
  attemptGone,
  connectAgent,
  disconnectAgent,
  drainAgent,
  heartbeat,
  neverStarted,
} from './sessions.ts'
import type { Account, Call, Effect, Ledger, LedgerEvent, Now } from './state.ts'

export const createLedger = (epoch: number, nowMs: number): Ledger => ({
  epoch,
  nextSeq: 1,
  lastTickMs: nowMs,
  accounts: new Map(),
  calls: new Map(),
  leases: new Map(),
  agents: new Map(),
  owed: new Map(),
  counts: new Map(),
  aside: createHeap((entry) => entry.untilMs),
  reservations: new Map(),
})

export const addAccount = (ledger: Ledger, id: string, quota: number): Account => {
  const account: Account = {
    id,
    quota,
    leases: 0,
    waiting: 0,
    waitingBytes: 0,
    queue: createQueue<Call>((call) => call.state === 'queued' && isLive(ledger, call)),
  }
  ledger.accounts.set(id, account)
  return account
}

const onStarted = (ledger: Ledger, agentId: string, key: AttemptKey, effects: Effect[]): void => {
  const call = ledger.calls.get(key.call)
  if (call === undefined || leaseOf(ledger, key, agentId) === undefined) return
  const agent = ledger.agents.get(agentId)
  if (agent !== undefined) agent.pauseMs = 0
  if (call.state !== 'leased') return
  setState(ledger, call, 'running')
  effects.push(logLine(call, 'RUNNING'))
}

const onRefused = (
  ledger: Ledger,
  agentId: string,
  key: AttemptKey,
  now: Now,
  effects: Effect[],
): void => {
  const agent = ledger.agents.get(agentId)
  const call = ledger.calls.get(key.call)
  const lease = leaseOf(ledger, key, agentId)
  if (agent !== undefined) {
    agent.pauseMs = Math.min(
      Math.max(agent.pauseMs * 2, limits.retryPauseMsMin),
      limits.retryPauseMsMax,
    )
    agent.pausedUntilMs = now.ms + agent.pauseMs
  }
  if (call !== undefined) neverStarted(ledger, call, key, agentId, effects)
  else if (lease !== undefined) endLease(ledger, lease, effects)
}

const forgetAgent = (ledger: Ledger, agentId: string, effects: Effect[]): void => {
  const agent = ledger.agents.get(agentId)
  if (agent !== undefined) unhearAgent(agent)
  ledger.agents.delete(agentId)
  giveUpOwed(ledger, agentId, new Set(), effects)
}

const endUnplaced = (ledger: Ledger, call: Call, now: Now, effects: Effect[]): void => {
  const why = `not placed within ${call.terms.queueTimeoutMs / 1000} s: ${call.reason}`
  endCall(ledger, call, endingWithout(call, 'NOT_PLACED', why), now, effects)
}

/** Pauses that are over: back to the queue, or out of time. */
const returnAside = (ledger: Ledger, now: Now, effects: Effect[]): void => {
  for (let next = ledger.aside.peek(); next !== undefined; next = ledger.aside.peek()) {
    if (next.untilMs > now.ms) return
    ledger.aside.pop()
    const { call } = next
    const isCurrent = call.state === 'aside' && call.asideUntilMs === next.untilMs
    if (!isCurrent || !isLive(ledger, call)) continue
    call.waitedMs += now.ms - call.asideSinceMs
    if (call.waitedMs >= call.terms.queueTimeoutMs) endUnplaced(ledger, call, now, effects)
    else returnToQueue(ledger, call, call.reason)
  }
}

const onTick = (ledger: Ledger, now: Now, effects: Effect[]): void => {
  const passedMs = now.ms - ledger.lastTickMs
  ledger.lastTickMs = now.ms
  const wasAway = passedMs > limits.leaseMarginMs
  if (wasAway) forgiveSilence(ledger, now.ms)
  expireLeases(ledger, now, effects)
  expireOwed(ledger, now.ms, effects)
  returnAside(ledger, now, effects)
  for (const account of ledger.accounts.values()) {
    const head = account.leases < account.quota ? account.queue.head() : undefined
    if (head === undefined || head.heard.length > 0) continue
    // While the coordinator itself was away nobody could have placed it.
    head.waitedMs += wasAway ? 0 : passedMs
    head.roomMs += wasAway ? 0 : passedMs
    if (head.waitedMs < head.terms.queueTimeoutMs) continue
    account.queue.take()
    endUnplaced(ledger, head, now, effects)
  }
  renewReservations(ledger, now.ms)
}

const cancelCall = (ledger: Ledger, callId: string, now: Now, effects: Effect[]): void => {
  const call = ledger.calls.get(callId)
  if (call === undefined) return
  endCall(
    ledger,
    call,
    endingWithout(call, 'CALL_CANCELLED', 'the call was cancelled'),
    now,
    effects,
  )
}

const handle = (ledger: Ledger, event: LedgerEvent, now: Now, effects: Effect[]): void => {
  switch (event.type) {
    case 'accept':
      acceptCall(ledger, event, now, effects)
      return
    case 'cancel':
      cancelCall(ledger, event.callId, now, effects)
      return
    case 'delivered':
      settleDelivery(ledger, event.callId, effects)
      return
    case 'undelivered':
      settleDelivery(ledger, event.callId, effects, event.body)
      return
    case 'quota':
      accountOf(ledger, event.accountId).quota = event.quota
      return
    case 'remove-account':
      assert(
        accountOf(ledger, event.accountId).waiting === 0,
        'an account without calls is removed',
      )
      ledger.accounts.delete(event.accountId)
      return
    case 'remove-func':
      for (const call of [...ledger.calls.values()]) {
        if (call.terms.funcId === event.funcId) cancelCall(ledger, call.id, now, effects)
      }
      return
    case 'connect':
      connectAgent(ledger, event, now, effects)
      return
    case 'disconnect':
      disconnectAgent(ledger, event.agentId, event.session)
      return
    case 'forget':
      forgetAgent(ledger, event.agentId, effects)
      return
    case 'advert': {
      const agent = ledger.agents.get(event.agentId)
      if (agent === undefined) return
      // Gossip may bring an older one later.
      if (agent.advert !== null && event.advert.sequence <= agent.advert.sequence) return
      agent.advert = event.advert
      agent.images = new Set(event.advert.images)
      return
    }
    case 'drain':
      drainAgent(ledger, event.agentId, event.draining, effects)
      return
    case 'draining': {
      const agent = ledger.agents.get(event.agentId)
      if (agent !== undefined) agent.draining = event.draining
      return
    }
    case 'heartbeat':
      heartbeat(ledger, event.agentId, event.keys, now.ms, effects)
      return
    case 'started':
      onStarted(ledger, event.agentId, event.key, effects)
      return
    case 'refused':
      onRefused(ledger, event.agentId, event.key, now, effects)
      return
    case 'gone':
      attemptGone(ledger, event.key, event.agentId, now, effects)
      return
    case 'result':
      commitResult(ledger, event.agentId, event.key, event.result, now, effects)
      return
    case 'unassignable': {
      const call = ledger.calls.get(event.key.call)
      const lease = ledger.leases.get(attemptName(event.key))
      if (lease !== undefined) endLease(ledger, lease, effects)
      if (call === undefined) return
      endCall(ledger, call, endingWithout(call, 'INTERNAL', event.message), now, effects)
      return
    }
    case 'tick':
      onTick(ledger, now, effects)
      return
    default:
      assertNever(event)
  }
}

export const step = (ledger: Ledger, event: LedgerEvent, now: Now): Effect[] => {
  const effects: Effect[] = []
  handle(ledger, event, now, effects)
  dispatch(ledger, now, effects)
  return effects
}
