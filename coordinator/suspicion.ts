/** Says in the log when a connected agent falls silent, and when it is heard again. */

import type { Log } from '../daemon/log.ts'
import { isSuspectAt, silenceMs } from './ledger/room.ts'
import type { Ledger } from './ledger/state.ts'

/** To be called with every tick; one look at each agent. */
export const createSuspicion = (
  ledger: Pick<Ledger, 'agents' | 'lastTickMs'>,
  log: Pick<Log, 'info' | 'warn'>,
): (() => void) => {
  const suspects = new Set<string>()
  return () => {
    for (const agent of ledger.agents.values()) {
      const { id: peer, name } = agent
      const isSuspect = agent.session !== 0 && isSuspectAt(agent, ledger.lastTickMs)
      if (isSuspect === suspects.has(peer)) continue
      if (isSuspect) {
        suspects.add(peer)
        const silentMs = Math.round(silenceMs(agent, ledger.lastTickMs))
        log.warn({ agent: name, peer, silentMs }, 'agent suspect: it is given no calls')
      } else {
        suspects.delete(peer)
        if (agent.session !== 0) log.info({ agent: name, peer }, 'agent heard again')
      }
    }
    for (const peer of suspects) if (!ledger.agents.has(peer)) suspects.delete(peer)
  }
}
