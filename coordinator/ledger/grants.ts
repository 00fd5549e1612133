/**
 * A call's attempts beside their leases: every granted one may still report a result, some count
 * as lost, and some of those are heard of again.
 *
 * An attempt that is heard of after its lease was lost keeps its call from being started elsewhere
 * while the call waits, and takes its room on the agent, until it is leased again in its turn
 * (dispatch.ts), ends, or its agent's session does. Being lost uses up one of the call's attempts;
 * that is taken back when the attempt is leased again or proves never to have started.
 */

import { type AttemptKey, attemptName } from '../../protocol/call.ts'
import type { Agent, Call, Grant, Ledger } from './state.ts'

const isOf = (grant: Grant, key: AttemptKey): boolean =>
  grant.attempt === key.attempt && grant.epoch === key.epoch

export const grantOf = (call: Call, key: AttemptKey, agentId: string): Grant | undefined =>
  call.granted.find((grant) => isOf(grant, key) && grant.agentId === agentId)

const setLost = (call: Call, key: AttemptKey, isLost: boolean): void => {
  call.granted = call.granted.map((grant) => {
    if (!isOf(grant, key) || grant.isLost === isLost) return grant
    call.attemptsLost += isLost ? 1 : -1
    return { ...grant, isLost }
  })
}

export const countAsLost = (call: Call, key: AttemptKey): void => setLost(call, key, true)
export const countAsAlive = (call: Call, key: AttemptKey): void => setLost(call, key, false)

/** The attempt has ended: nothing more is expected of it. What it used up stays used up. */
export const dropGrant = (call: Call, key: AttemptKey): void => {
  call.granted = call.granted.filter((grant) => !isOf(grant, key))
}

export const hear = (agent: Agent, call: Call, key: AttemptKey): void => {
  if (agent.heard.has(attemptName(key))) return
  agent.heard.set(attemptName(key), call)
  call.heard = [...call.heard, { key, agentId: agent.id }]
}

/** The attempt has ended, or has a lease again. */
export const unhear = (ledger: Ledger, call: Call, key: AttemptKey): void => {
  const name = attemptName(key)
  for (const heard of call.heard) {
    if (attemptName(heard.key) === name) ledger.agents.get(heard.agentId)?.heard.delete(name)
  }
  call.heard = call.heard.filter((heard) => attemptName(heard.key) !== name)
}

export const unhearAll = (ledger: Ledger, call: Call): void => {
  for (const { key } of call.heard) unhear(ledger, call, key)
}

/** The agent's session has ended: its attempts are heard of again at its next hello. */
export const unhearAgent = (agent: Agent): void => {
  for (const call of agent.heard.values()) {
    call.heard = call.heard.filter((heard) => heard.agentId !== agent.id)
  }
  agent.heard.clear()
}
