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
import { delayOf, heardOf } from './delay.ts'
import { review, wakeAccountOf } from './room.ts'
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

/** Ids of the agents on which its attempts were lost, and have not been heard to end since. */
export const lostOn = (call: Call): readonly string[] =>
  call.attemptsLost === 0
    ? []
    : call.granted.flatMap(({ agentId, isLost }) => (isLost ? [agentId] : []))

/** The attempt has ended: nothing more is expected of it. What it used up stays used up. */
export const dropGrant = (call: Call, key: AttemptKey): void => {
  call.granted = call.granted.filter((grant) => !isOf(grant, key))
}

export const hear = (ledger: Ledger, agent: Agent, call: Call, key: AttemptKey): void => {
  if (agent.heard.has(attemptName(key))) return
  agent.heard.set(attemptName(key), call)
  delayOf(call).heard = [...heardOf(call), { key, agentId: agent.id }]
  review(ledger, agent)
  wakeAccountOf(ledger, call.terms)
}

const unhearOn = (ledger: Ledger, agentId: string, key: AttemptKey): void => {
  const agent = ledger.agents.get(agentId)
  if (agent?.heard.delete(attemptName(key))) review(ledger, agent)
}

/** The attempt has ended, or has a lease again. */
export const unhear = (ledger: Ledger, call: Call, key: AttemptKey): void => {
  const heard = heardOf(call)
  if (heard.length === 0) return
  const name = attemptName(key)
  delayOf(call).heard = heard.filter((one) => attemptName(one.key) !== name)
  for (const one of heard) {
    if (attemptName(one.key) === name) unhearOn(ledger, one.agentId, key)
  }
  wakeAccountOf(ledger, call.terms)
}

export const unhearAll = (ledger: Ledger, call: Call): void => {
  for (const { key } of heardOf(call)) unhear(ledger, call, key)
}

/** The agent's session has ended: its attempts are heard of again at its next hello. */
export const unhearAgent = (ledger: Ledger, agent: Agent): void => {
  const calls = [...agent.heard.values()]
  agent.heard.clear()
  review(ledger, agent)
  for (const call of calls) {
    delayOf(call).heard = heardOf(call).filter((heard) => heard.agentId !== agent.id)
    wakeAccountOf(ledger, call.terms)
  }
}
