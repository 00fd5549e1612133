/**
 * Placing what waits: while an account's head fits somewhere, it is leased there. A head that no
 * member could ever run is set aside with its reason; one that waits for room blocks its account,
 * and no other. placement.ts says which goes first and where.
 */

import { assert } from '../../protocol/assert.ts'
import type { AttemptKey } from '../../protocol/call.ts'
import { limits } from '../../protocol/limits.ts'
import { setAside, setState, writeCall } from './calls.ts'
import { countAsAlive, unhearAll } from './grants.ts'
import { grantLease } from './leases.ts'
import { couldRun, hasRoom, pickAccount, pickAgent, whyNotPlaced } from './placement.ts'
import { endReservation } from './reservations.ts'
import type { Account, Call, Effect, Ledger, Now } from './state.ts'

/** Places every head that fits. Each pass places one call or blocks one account: it ends. */
export const dispatch = (ledger: Ledger, now: Now, effects: Effect[]): void => {
  const blocked = new Set<Account>()
  for (;;) {
    const next = pickAccount(ledger.accounts.values(), (account) => blocked.has(account))
    if (next === undefined) return
    const { account, call } = next
    if (call.heard.length > 0) {
      if (!takeBack(ledger, account, call, now, effects)) blocked.add(account)
      continue
    }
    const agent = pickAgent(ledger.agents.values(), call.terms, now.ms)
    if (agent !== undefined) {
      account.queue.take()
      const attempt = call.lastAttempt + 1
      const key: AttemptKey = { call: call.id, attempt, epoch: ledger.epoch }
      assert(agent.slotsUsed < agent.hello.slots, 'no lease beyond the slots')
      grantLease(ledger, account, agent, key, call.terms, now.ms, effects)
      call.lastAttempt = attempt
      const grant = { attempt, epoch: key.epoch, agentId: agent.id, isLost: false }
      call.granted = [...call.granted, grant]
      call.reason = ''
      call.roomMs = 0
      setState(ledger, call, 'leased')
      endReservation(ledger, account.id)
      writeCall(call, effects)
      effects.push({ type: 'assign', agentId: agent.id, key, terms: call.terms, seq: call.seq })
    } else if (isHopeless(ledger, call)) {
      account.queue.take()
      const reason = whyNotPlaced(ledger.agents.values(), call.terms, now.ms)
      const leftMs = Math.max(0, call.terms.queueTimeoutMs - call.waitedMs)
      setAside(ledger, call, now.ms, Math.min(limits.retryPauseMsMax, leftMs), reason)
      call.isHopeless = true
    } else {
      call.reason = whyNotPlaced(ledger.agents.values(), call.terms, now.ms)
      blocked.add(account)
    }
  }
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
  for (const { key, agentId } of call.heard) {
    const agent = ledger.agents.get(agentId)
    if (agent === undefined || !hasRoom(agent, call.terms)) continue
    account.queue.take()
    unhearAll(ledger, call)
    grantLease(ledger, account, agent, key, call.terms, now.ms, effects)
    countAsAlive(call, key)
    setState(ledger, call, 'running')
    writeCall(call, effects)
    return true
  }
  return false
}

/** No member could ever run it; while there is none at all, nobody is set aside. */
const isHopeless = (ledger: Ledger, call: Call): boolean => {
  if (ledger.agents.size === 0) return false
  for (const agent of ledger.agents.values()) if (couldRun(agent, call.terms)) return false
  return true
}
