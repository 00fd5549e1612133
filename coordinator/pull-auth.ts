/**
 * Which credentials an agent is told for a pull that one of its attempts needs: those of the call's
 * account, for the registry of its image. Nobody is told any without a lease that stands, and for an
 * image that was pulled without.
 */

import type { AttemptKey } from '../protocol/call.ts'
import { registryOf } from '../protocol/image.ts'
import { leaseOf } from './ledger/leases.ts'
import type { Ledger } from './ledger/state.ts'

/** Null: it is not answered. '': the account has none for that registry. */
export const pullAuthFor = (
  ledger: Ledger,
  authOf: (accountId: string, registry: string) => string,
  agentId: string,
  key: AttemptKey,
): string | null => {
  const lease = leaseOf(ledger, key, agentId)
  const terms = ledger.calls.get(key.call)?.terms
  if (lease === undefined || lease.isOver || terms?.image.isPrivate !== true) return null
  return authOf(terms.accountId, registryOf(terms.image.reference))
}
