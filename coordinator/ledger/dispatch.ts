/**
 * Placing what waits: while an account's head fits somewhere, it is leased there. A head that no
 * member could ever run is set aside with its reason; one that waits for room blocks its account,
 * and no other. placement.ts says which goes first and where.
 */

import { assert } from '../../protocol/assert.ts'
import type { AttemptKey } from '../../protocol/call.ts'
import { limits } from '../../protocol/limits.ts'
import { setAside, setState, writeCall } from './calls.ts'
import { grantLease } from './leases.ts'
import { couldRun, pickAccount, pickAgent, whyNotPlaced } from './placement.ts'
import type { Account, Call, Effect, Ledger, Now } from './state.ts'

/** Places every head that fits. Each pass places one call or blocks one account: it ends. */
export const dispatch = (ledger: Ledger, now: Now, effects: Effect[]): void => {
  const blocked = new Set<Account>()
  for (;;) {
    const next = pickAccount(ledger.accounts.values(), (account) => blocked.has(account))
    if (next === undefined) return
    const { account, call } = next
    const heard = call.heard
    if (heard !== null) {
      takeBack(ledger, account, call, heard, now, effects)
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
      call.granted = [...call.granted, { attempt, epoch: key.epoch, agentId: agent.id }]
      call.reason = ''
      setState(ledger, call, 'leased')
      writeCall(call, effects)
      effects.push({ type: 'assign', agentId: agent.id, key, terms: call.terms, seq: call.seq })
    } else if (isHopeless(ledger, call)) {
      account.queue.take()
      const reason = whyNotPlaced(ledger.agents.values(), call.terms, now.ms)
      setAside(ledger, call, now.ms, limits.retryPauseMsMax, reason)
    } else {
      call.reason = whyNotPlaced(ledger.agents.values(), call.terms, now.ms)
      blocked.add(account)
    }
  }
}

/** The attempt that was thought lost runs on: in its turn, it has a lease again. */
const takeBack = (
  ledger: Ledger,
  account: Account,
  call: Call,
  heard: NonNullable<Call['heard']>,
  now: Now,
  effects: Effect[],
): void => {
  call.heard = null
  const agent = ledger.agents.get(heard.agentId)
  // Only while it is heard of: an agent that left since then tells again when it is back.
  if (agent === undefined || agent.session !== heard.session) return
  account.queue.take()
  grantLease(ledger, account, agent, heard.key, call.terms, now.ms, effects)
  setState(ledger, call, 'running')
}

/** No member could ever run it; while there is none at all, nobody is set aside. */
const isHopeless = (ledger: Ledger, call: Call): boolean => {
  if (ledger.agents.size === 0) return false
  for (const agent of ledger.agents.values()) if (couldRun(agent, call.terms)) return false
  return true
}
