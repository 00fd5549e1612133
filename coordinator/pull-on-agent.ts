/**
 * Has an agent pull an image for everybody. One for whose platform the registry has no such image
 * is nobody's failure: one of another platform is asked then.
 */

import { HyperError, toHyperError } from '../protocol/errors.ts'
import type { PullOnAgent } from './images.ts'
import { pickAgentForPull } from './ledger/placement.ts'
import type { Ledger } from './ledger/state.ts'
import type { Roster } from './roster.ts'

export const createPullOnAgent =
  (ledger: Pick<Ledger, 'agents'>, roster: Pick<Roster, 'pull'>): PullOnAgent =>
  async (reference, auth, onProgress, signal) => {
    const refusing = new Set<string>()
    let refusal = new HyperError('NO_AGENT', 'no agent with an engine is connected')
    for (;;) {
      const agent = pickAgentForPull(ledger.agents.values(), refusing)
      if (agent === undefined) throw refusal
      try {
        return await roster.pull(agent.id, reference, auth, onProgress, signal)
      } catch (error) {
        refusal = toHyperError(error)
        if (refusal.code !== 'PLATFORM_MISMATCH') throw refusal
        refusing.add(agent.hello.platform)
      }
    }
  }
