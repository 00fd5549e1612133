/**
 * Which agents have containers ready, by kind (protocol/ready-key.ts): what they advertised last, less
 * what was given out since. Soft, like the adverts it comes from: it only makes a choice better.
 */

import type { Advert } from '../../protocol/advert.ts'
import type { Agent, Ledger } from './state.ts'

const drop = (ledger: Ledger, agent: Agent, key: string): void => {
  agent.ready.delete(key)
  const agents = ledger.readyOn.get(key)
  agents?.delete(agent)
  if (agents?.size === 0) ledger.readyOn.delete(key)
}

export const setReady = (ledger: Ledger, agent: Agent, ready: Advert['ready']): void => {
  for (const key of [...agent.ready.keys()]) drop(ledger, agent, key)
  for (const { key, count } of ready) {
    if (count === 0) continue
    agent.ready.set(key, count)
    const agents = ledger.readyOn.get(key)
    if (agents === undefined) ledger.readyOn.set(key, new Set([agent]))
    else agents.add(agent)
  }
}

/** A call of this kind goes there. */
export const useReady = (ledger: Ledger, agent: Agent, key: string): void => {
  const count = agent.ready.get(key)
  if (count === undefined) return
  if (count === 1) drop(ledger, agent, key)
  else agent.ready.set(key, count - 1)
}
