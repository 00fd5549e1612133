/**
 * Looks at a coordinator's ledger between its transitions: who is set aside (nobody outside can see
 * that), and, now and then, whether the books agree with a recount of them.
 */

import type { createCore } from '../../coordinator/core.ts'
import { reasonOf } from '../../coordinator/ledger/reasons.ts'
import { checkBooks } from '../support/ledger-invariants.ts'
import type { History } from './history.ts'

type Core = ReturnType<typeof createCore>

/** A recount costs as much as many transitions. */
const RECOUNT_EVERY = 40

export const createWitness = (history: History) => {
  let lastCore: Core | null = null
  let aside = new Set<string>()
  let looks = 0
  const look = (core: Core): void => {
    if (core !== lastCore) {
      // After a restart nobody is aside.
      for (const callId of aside) history.record({ type: 'aside-no-more', callId })
      aside = new Set()
      lastCore = core
    }
    for (const call of core.ledger.calls.values()) {
      const wasAside = aside.has(call.id)
      if ((call.state === 'aside') === wasAside) continue
      if (wasAside) {
        aside.delete(call.id)
        history.record({ type: 'aside-no-more', callId: call.id })
      } else {
        aside.add(call.id)
        history.record({ type: 'aside', callId: call.id, reason: reasonOf(core.ledger, call) })
      }
    }
    for (const callId of aside) if (!core.ledger.calls.has(callId)) aside.delete(callId)
    looks += 1
    if (looks % RECOUNT_EVERY === 0) checkBooks(core.ledger)
  }
  return { look }
}
