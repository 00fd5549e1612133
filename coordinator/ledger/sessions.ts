/**
 * What agents say of their attempts: the report that a connection opens with, and heartbeats.
 *
 * An agent that connects is answered for each attempt it holds: keep (its lease is renewed or
 * restored, or the call waits for it), cancel (the call has ended or gone on without it), and for
 * each result in its outbox: commit (send it, it counts) or drop. A leased attempt that the report
 * does not name is settled at once: an agent with the same store writes a note before anything
 * starts, so what it does not name never started; with another store it is lost. With a copy of the
 * store, or one that was set back, which is seen where its hello tells an earlier start than is known, or
 * the same of another process, it is neither: its lease runs out.
 */

import { type AttemptKey, attemptName } from '../../protocol/call.ts'
import type { Hello, Verdict } from '../../protocol/messages.ts'
import { bringBackHopeless } from './aside.ts'
import { returnToQueue, startCall, writeCall } from './calls.ts'
import { countAsAlive, dropGrant, grantOf, hear, unhear } from './grants.ts'
import { endLease, forgiveLease, leaseOf, renewLease } from './leases.ts'
import { changeMembership } from './line.ts'
import { loseAttempt } from './lost.ts'
import { introduceAgent, tellDrain } from './members.ts'
import { giveUpOwed, owedOf } from './results.ts'
import type { Agent, Call, Effect, Ledger, LedgerEvent, Now } from './state.ts'

/** What an attempt that its agent holds is told. */
const judgeHeld = (
  ledger: Ledger,
  agent: Agent,
  key: AttemptKey,
  isRunning: boolean,
  nowMs: number,
): 'keep' | 'cancel' => {
  const call = ledger.calls.get(key.call)
  const lease = leaseOf(ledger, key, agent.id)
  if (lease !== undefined) renewLease(lease, nowMs)
  // Killed before its result was in the outbox, the agent makes it again from the container.
  if (owedOf(ledger, key, agent.id) !== undefined) return 'keep'
  if (call === undefined || grantOf(call, key, agent.id) === undefined) return 'cancel'
  if (lease !== undefined) {
    if (isRunning && call.state === 'leased') startCall(ledger, call)
    return 'keep'
  }
  // Its lease was lost. A newer attempt goes first; else the call waits for this one.
  if (call.state === 'leased' || call.state === 'running') return 'cancel'
  waitFor(ledger, agent, call, key)
  return 'keep'
}

const waitFor = (ledger: Ledger, agent: Agent, call: Call, key: AttemptKey): void => {
  hear(ledger, agent, call, key)
  if (call.state === 'aside') returnToQueue(ledger, call, 'its attempt was heard of again')
}

const judgeResult = (
  ledger: Ledger,
  agent: Agent,
  key: AttemptKey,
  nowMs: number,
): 'commit' | 'drop' => {
  const lease = leaseOf(ledger, key, agent.id)
  if (lease !== undefined) renewLease(lease, nowMs)
  const call = ledger.calls.get(key.call)
  if (call === undefined) return owedOf(ledger, key, agent.id) === undefined ? 'drop' : 'commit'
  if (grantOf(call, key, agent.id) === undefined) return 'drop'
  // The result is about to come: nothing is started meanwhile.
  if (call.state === 'queued' || call.state === 'aside') waitFor(ledger, agent, call, key)
  return 'commit'
}

/** Leases on the agent, and bodies owed by it, that its report does not name. */
const settleUnnamed = (
  ledger: Ledger,
  agent: Agent,
  hello: Hello,
  now: Now,
  effects: Effect[],
): void => {
  const named = new Set(
    [...hello.attempts.map(({ key }) => key), ...hello.outbox].map((key) => attemptName(key)),
  )
  giveUpOwed(ledger, agent.id, named, effects)
  for (const lease of [...agent.leases]) {
    if (named.has(attemptName(lease.key)) || lease.isDoubtful) continue
    const call = ledger.calls.get(lease.key.call)
    if (lease.isOver || call === undefined) endLease(ledger, lease, effects)
    else if (lease.storeId === hello.storeId)
      neverStarted(ledger, call, lease.key, agent.id, effects)
    else loseAttempt(ledger, lease, call, now, effects)
  }
}

/** Those that a stale hello does not name run until they fall silent: no later one proves more. */
const doubtUnnamed = (agent: Agent, hello: Hello): void => {
  const named = new Set(hello.attempts.map(({ key }) => attemptName(key)))
  for (const lease of agent.leases) {
    if (!lease.isOver && !named.has(attemptName(lease.key))) lease.isDoubtful = true
  }
}

/** Proven, of an attempt with a lease or without: it counts for nothing, and is forgotten. */
export const neverStarted = (
  ledger: Ledger,
  call: Call,
  key: AttemptKey,
  agentId: string,
  effects: Effect[],
): void => {
  if (grantOf(call, key, agentId) === undefined) return
  const lease = leaseOf(ledger, key, agentId)
  countAsAlive(call, key)
  unhear(ledger, call, key)
  dropGrant(call, key)
  writeCall(call, effects)
  if (lease === undefined) return
  endLease(ledger, lease, effects)
  returnToQueue(ledger, call, 'its attempt never started')
}

/** A cancelled attempt's container is gone. Its result may still be on the way: the grant stays. */
export const attemptGone = (
  ledger: Ledger,
  key: AttemptKey,
  agentId: string,
  now: Now,
  effects: Effect[],
): void => {
  const call = ledger.calls.get(key.call)
  const lease = leaseOf(ledger, key, agentId)
  if (call !== undefined && grantOf(call, key, agentId) !== undefined) unhear(ledger, call, key)
  if (lease === undefined) return
  if (call?.terms.atMostOnce) {
    loseAttempt(ledger, lease, call, now, effects)
    return
  }
  endLease(ledger, lease, effects)
  // It was cancelled for a newer attempt, which was lost, and was then leased again.
  if (call !== undefined) returnToQueue(ledger, call, 'its attempt was cancelled')
}

export const connectAgent = (
  ledger: Ledger,
  event: Extract<LedgerEvent, { type: 'connect' }>,
  now: Now,
  effects: Effect[],
): void => {
  const { hello } = event
  const agent = introduceAgent(ledger, event, now.ms)
  const verdicts: Verdict[] = []
  for (const { key, running } of hello.attempts) {
    verdicts.push({ key, verdict: judgeHeld(ledger, agent, key, running, now.ms) })
  }
  for (const key of hello.outbox) {
    const verdict = judgeResult(ledger, agent, key, now.ms)
    verdicts.push({ key, verdict })
    const lease = leaseOf(ledger, key, agent.id)
    if (verdict === 'drop' && lease !== undefined) endLease(ledger, lease, effects)
  }
  if (event.isCopy === true) doubtUnnamed(agent, hello)
  if (event.isStale !== true) settleUnnamed(ledger, agent, hello, now, effects)
  bringBackHopeless(ledger, agent)
  changeMembership(ledger)
  effects.push({ type: 'welcome', agentId: agent.id, session: event.session, verdicts })
  if (agent.isDrained) tellDrain(agent, effects)
}

/**
 * Results are on their way, which a heartbeat does not name, and on a slow line they take longer than a lease
 * lasts. That is no silence: no lease ends meanwhile. Of a copy's leases nothing is known, and they run out.
 */
export const hearBulk = (ledger: Ledger, agentId: string, nowMs: number): void => {
  const agent = ledger.agents.get(agentId)
  if (agent === undefined || agent.session === 0) return
  for (const lease of agent.leases) {
    if (!lease.isDoubtful) forgiveLease(lease, nowMs)
  }
}

export const heartbeat = (
  ledger: Ledger,
  agentId: string,
  keys: readonly AttemptKey[],
  nowMs: number,
  effects: Effect[],
): void => {
  const agent = ledger.agents.get(agentId)
  if (agent === undefined || agent.session === 0) return
  for (const key of keys) {
    const lease = leaseOf(ledger, key, agentId)
    if (lease === undefined && judgeHeld(ledger, agent, key, true, nowMs) === 'cancel') {
      effects.push({
        type: 'send',
        agentId,
        order: { type: 'cancel', session: agent.session, key },
      })
    } else if (lease !== undefined) {
      renewLease(lease, nowMs)
    }
  }
  effects.push({ type: 'send', agentId, order: { type: 'renewed', session: agent.session } })
}
