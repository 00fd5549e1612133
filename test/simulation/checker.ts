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

export const checkHistory = (observations: readonly Observation[]): Failure | null => {
  const evidence = gather(observations)
  const invariants = { ...LEDGER_INVARIANTS, ...CLIENT_INVARIANTS, ...AGENT_INVARIANTS }
  for (const [invariant, check] of Object.entries(invariants)) {
    try {
      check(evidence)
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      return { invariant, message: error.message, atMs: error.atMs }
    }
  }
  return null
}
