/**
 * Placing what waits: while an account's head fits somewhere, it is leased there. A head that no
 * member could ever run is set aside with its reason; one that waits for room blocks its account,
 * and no other. placement.ts says where, line.ts who is looked at and in which order.
 *
 * What it decides is what a look at every account and every agent would decide after every event;
 * what it costs depends on what has changed, not on how many wait.
 */

import { assert } from '../../protocol/assert.ts'
import type { AttemptKey } from '../../protocol/call.ts'
import { setHopeless } from './aside.ts'
import { setState, writeCall } from './calls.ts'
import { heardOf } from './delay.ts'
import { countAsAlive, lostOn, unhearAll } from './grants.ts'
import { grantLease } from './leases.ts'
import { block, nextInLine, pass, wake } from './line.ts'
import { couldRun, pickAgent } from './placement.ts'
import { useReady } from './readiness.ts'
import { endReservation } from './reservations.ts'
import { hasRoomByLeases } from './room.ts'
import type { Account, Agent, Call, Effect, Ledger, Now } from './state.ts'

/** Places every head that fits. Each look places a call, sets one aside, or passes an account. */
export const dispatch = (ledger: Ledger, now: Now, effects: Effect[]): void => {
  const { line, roomy } = ledger
  let passed: Account[] = []
  for (
    let account = nextInLine(line, roomy);
    account !== undefined;
    account = nextInLine(line, roomy)
  ) {
    const { gains } = line
    if (placeHead(ledger, account, now, effects)) wake(ledger, account)
    else {
      pass(line, account)
      passed.push(account)
    }
    if (line.gains === gains) continue
    // Placing one can give room back to others: those that were passed have another look.
    for (const one of passed) block(line, one)
    passed = []
  }
  for (const account of passed) block(line, account)
  line.gainsServed = line.gains
}

/** False where the account's head fits nowhere now. */
const placeHead = (ledger: Ledger, account: Account, now: Now, effects: Effect[]): boolean => {
  const call = account.queue.head()
  assert(call !== undefined, 'an account in line has a call that waits')
  if (heardOf(call).length > 0) return takeBack(ledger, account, call, now, effects)
  const agent = pickAgent(ledger, call.terms, lostOn(call))
  if (agent !== undefined) {
    lease(ledger, account, agent, call, now, effects)
    return true
  }
  if (!isHopeless(ledger, account, call)) return false
  account.queue.take()
  setHopeless(ledger, call, now.ms, effects)
  return true
}

const lease = (
  ledger: Ledger,
  account: Account,
  agent: Agent,
  call: Call,
  now: Now,
  effects: Effect[],
): void => {
  account.queue.take()
  const attempt = call.lastAttempt + 1
  const key: AttemptKey = { call: call.id, attempt, epoch: ledger.epoch }
  assert(agent.slotsUsed < agent.hello.slots, 'no lease beyond the slots')
  grantLease(ledger, account, agent, key, call.terms, now.ms, effects)
  useReady(ledger, agent, call.terms.readyKey)
  call.lastAttempt = attempt
  const grant = { attempt, epoch: key.epoch, agentId: agent.id, isLost: false }
  call.granted = [...call.granted, grant]
  if (call.delay !== null) call.delay.roomMs = 0
  setState(ledger, call, 'leased')
  endReservation(ledger, account.id)
  writeCall(call, effects)
  effects.push({ type: 'assign', agentId: agent.id, key, terms: call.terms, seq: call.seq })
}

/**
 * An attempt that was thought lost runs on: in the call's turn, it has a lease again. False where
 * no agent that holds one has room for it in the books: then the call waits for it without.
 */
const takeBack = (
  ledger: Ledger,
  account: Account,
  call: Call,
  now: Now,
  effects: Effect[],
): boolean => {
  for (const { key, agentId } of heardOf(call)) {
    const agent = ledger.agents.get(agentId)
    if (agent === undefined || !hasRoomByLeases(agent, call.terms)) continue
    account.queue.take()
    setState(ledger, call, 'running')
    unhearAll(ledger, call)
    grantLease(ledger, account, agent, key, call.terms, now.ms, effects)
    countAsAlive(call, key)
    endReservation(ledger, account.id)
    writeCall(call, effects)
    return true
  }
  return false
}

/** No member could ever run it; while there is none at all, nobody is set aside. */
const isHopeless = (ledger: Ledger, { turn }: Account, { terms }: Call): boolean => {
  if (ledger.agents.size === 0) return false
  if (turn.ableTerms === terms && turn.ableAt === ledger.membership) return false
  for (const agent of ledger.agents.values()) {
    if (!couldRun(agent, terms)) continue
    turn.ableTerms = terms
    turn.ableAt = ledger.membership
    return false
  }
  return true
}
