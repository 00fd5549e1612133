/**
 * The history checker: the invariants of the ledger, each a function of what was seen and of nothing
 * else. The first that is broken is the verdict. What was restored from a backup is checked as two
 * histories (lines.ts), and what containers and agents saw as one.
 */

import { type Evidence, gather, Violation } from './evidence.ts'
import type { Observation } from './history.ts'
import { AGENT_INVARIANTS, COMMITTED_INVARIANTS } from './invariants-agent.ts'
import { CACHE_INVARIANTS } from './invariants-cache.ts'
import { CLIENT_INVARIANTS } from './invariants-client.ts'
import { LEDGER_INVARIANTS } from './invariants-ledger.ts'
import { type Line, linesOf } from './lines.ts'

export interface Failure {
  readonly invariant: string
  readonly message: string
  readonly atMs: number
}

type Check = (evidence: Evidence) => void

const firstBroken = (
  { observations, isEnding }: Line,
  invariants: Readonly<Record<string, Check>>,
): Failure | null => {
  const evidence = gather(observations, isEnding)
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

export const checkHistory = (observations: readonly Observation[]): Failure | null => {
  const ofLine = {
    ...{ ...LEDGER_INVARIANTS, ...CACHE_INVARIANTS },
    ...{ ...CLIENT_INVARIANTS, ...COMMITTED_INVARIANTS },
  }
  const lines = linesOf(observations)
  if (lines.length === 1) {
    return firstBroken({ observations, isEnding: true }, { ...ofLine, ...AGENT_INVARIANTS })
  }
  for (const line of lines) {
    const failure = firstBroken(line, ofLine)
    if (failure !== null) return failure
  }
  return firstBroken({ observations, isEnding: true }, AGENT_INVARIANTS)
}
