/**
 * The history checker: the invariants of the ledger, each a function of what was seen and of nothing
 * else. The first that is broken is the verdict.
 */

import { gather, Violation } from './evidence.ts'
import type { Observation } from './history.ts'
import { AGENT_INVARIANTS } from './invariants-agent.ts'
import { CLIENT_INVARIANTS } from './invariants-client.ts'
import { LEDGER_INVARIANTS } from './invariants-ledger.ts'

export interface Failure {
  readonly invariant: string
  readonly message: string
  readonly atMs: number
}

/**
 * An old backup brings back an old world: what was promised after it is not kept, and what ended
 * after it may end again. What is true of any one coordinator, and of agents, holds nevertheless.
 */
const HOLD_THROUGH_RESTORE: readonly string[] = [
  'invariant 3 (quota)',
  'invariant 3 (room)',
  'invariant 4 (fresh container)',
  'invariant 7 (cache)',
  'promise 6 (noted first)',
  'epoch (only the higher is obeyed)',
  'invariant 9 (nothing left)',
]

export const checkHistory = (observations: readonly Observation[]): Failure | null => {
  const evidence = gather(observations)
  const isRestored = evidence.of('coordinator').some(({ what }) => what === 'is restored')
  const invariants = { ...LEDGER_INVARIANTS, ...CLIENT_INVARIANTS, ...AGENT_INVARIANTS }
  for (const [invariant, check] of Object.entries(invariants)) {
    if (isRestored && !HOLD_THROUGH_RESTORE.includes(invariant)) continue
    try {
      check(evidence)
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      return { invariant, message: error.message, atMs: error.atMs }
    }
  }
  return null
}
