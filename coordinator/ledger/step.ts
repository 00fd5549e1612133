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
import { readmitAccount } from './aside.ts'
import { accountOf } from './books.ts'
import { createCallIndex } from './call-index.ts'
import { acceptCall, logLine, startCall } from './calls.ts'
import { dispatch } from './dispatch.ts'
import { endCall, endingWithout } from './ending.ts'
import { createHeap } from './heap.ts'
import { endLease, leaseOf } from './leases.ts'
import { createLine, leaveLine, newTurn, wake } from './line.ts'
import { endRestored, expireLeases, forgiveSilence } from './lost.ts'
import {
  disconnectAgent,
  drainAgent,
  forgetAgent,
  hearAgent,
  setDraining,
  takeAdvert,
} from './members.ts'
import { createQueue } from './queue.ts'
import { endReservation, renewReservations } from './reservations.ts'
import { commitResult, expireOwed, settleDelivery } from './results.ts'
import { review } from './room.ts'
import { attemptGone, connectAgent, hearBulk, heartbeat, neverStarted } from './sessions.ts'
import type { Account, Call, Effect, Ledger, LedgerEvent, Now } from './state.ts'
import { countHeads, returnAside } from './waiting.ts'

export const createLedger = (epoch: number, nowMs: number): Ledger => ({
  epoch,
  nextSeq: 1,
  lastTickMs: nowMs,
  accounts: new Map(),
  calls: createCallIndex(),
  leases: new Map(),
  agentLeases: new Map(),
  agents: new Map(),
  nextRank: 0,
  membership: 0,
  roomy: [],
  readyOn: new Map(),
  line: createLine(),
  owed: new Map(),
  counts: new Map(),
  aside: createHeap((left, right) => left.untilMs < right.untilMs),
  hopeless: new Map(),
  reservations: new Map(),
})

export const addAccount = (ledger: Ledger, id: string, quota: number): Account => {
  const account: Account = {
    id,
    quota,
    leases: 0,
    live: 0,
    payloadBytes: 0,
    waiting: 0,
    queue: createQueue<Call>((call) => call.state === 'queued'),
    turn: newTurn(),
  }
  ledger.accounts.set(id, account)
  return account
}

const setQuota = (ledger: Ledger, accountId: string, quota: number): void => {
  const account = accountOf(ledger, accountId)
  account.quota = quota
  wake(ledger, account)
}

/** Leases of its ended calls stand until they end, without it. */
const removeAccount = (ledger: Ledger, accountId: string): void => {
  const account = accountOf(ledger, accountId)
  assert(account.live === 0, 'an account without calls is removed')
  endReservation(ledger, accountId)
  leaveLine(ledger.line, account)
  ledger.accounts.delete(accountId)
}

const onStarted = (ledger: Ledger, agentId: string, key: AttemptKey, effects: Effect[]): void => {
  const call = ledger.calls.get(key.call)
  if (call === undefined || leaseOf(ledger, key, agentId) === undefined) return
  const agent = ledger.agents.get(agentId)
  if (agent !== undefined) agent.pauseMs = 0
  if (call.state !== 'leased') return
  startCall(ledger, call)
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
    review(ledger, agent)
  }
  if (call !== undefined) neverStarted(ledger, call, key, agentId, effects)
  else if (lease !== undefined) endLease(ledger, lease, effects)
}

const onTick = (ledger: Ledger, now: Now, effects: Effect[]): void => {
  const passedMs = now.ms - ledger.lastTickMs
  ledger.lastTickMs = now.ms
  // While the coordinator itself was away nobody could have placed anything or been heard.
  const wasAway = passedMs > limits.leaseMarginMs
  if (wasAway) forgiveSilence(ledger, now.ms)
  else countHeads(ledger, passedMs, now, effects)
  expireLeases(ledger, now, effects)
  expireOwed(ledger, now.ms, effects)
  returnAside(ledger, now, effects)
  for (const agent of ledger.agents.values()) review(ledger, agent)
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

/** The newest first: what runs is not followed by another of them in the slot that it leaves. */
const cancelSome = (ledger: Ledger, funcId: string, now: Now, effects: Effect[]): void => {
  const calls = ledger.counts.get(funcId)?.calls
  for (const { id } of calls?.pageBefore(Infinity, limits.removedPerStepMax) ?? []) {
    cancelCall(ledger, id, now, effects)
  }
}

/** What the event itself does; what can run after it is placed by dispatch(). */
export const handle = (ledger: Ledger, event: LedgerEvent, now: Now, effects: Effect[]): void => {
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
      setQuota(ledger, event.accountId, event.quota)
      return
    case 'remove-account':
      removeAccount(ledger, event.accountId)
      return
    case 'remove-func':
      cancelSome(ledger, event.funcId, now, effects)
      return
    case 'registry-auth':
      readmitAccount(ledger, event.accountId)
      return
    case 'restored':
      endRestored(ledger, event.callIds, now, effects)
      return
    case 'connect':
      connectAgent(ledger, event, now, effects)
      return
    case 'disconnect':
      disconnectAgent(ledger, event.agentId, event.session)
      return
    case 'forget':
      forgetAgent(ledger, event, now, effects)
      return
    case 'advert':
      takeAdvert(ledger, event.agentId, event.advert)
      return
    case 'drain':
      drainAgent(ledger, event.agentId, event.draining, effects)
      return
    case 'draining':
      hearAgent(ledger, event.agentId, now.ms)
      setDraining(ledger, event.agentId, event.draining)
      return
    case 'heartbeat':
      hearAgent(ledger, event.agentId, now.ms)
      heartbeat(ledger, event.agentId, event.keys, now.ms, effects)
      return
    case 'bulk':
      hearAgent(ledger, event.agentId, now.ms)
      hearBulk(ledger, event.agentId, now.ms)
      return
    case 'started':
      hearAgent(ledger, event.agentId, now.ms)
      onStarted(ledger, event.agentId, event.key, effects)
      return
    case 'refused':
      hearAgent(ledger, event.agentId, now.ms)
      onRefused(ledger, event.agentId, event.key, now, effects)
      return
    case 'gone':
      hearAgent(ledger, event.agentId, now.ms)
      attemptGone(ledger, event.key, event.agentId, now, effects)
      return
    case 'result':
      hearAgent(ledger, event.agentId, now.ms)
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
