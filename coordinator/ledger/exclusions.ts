/**
 * Agents that cannot get an image, though their hello says that they could run it: the registry has
 * it for no platform of theirs, or does not give it with the account's credentials. That is nobody's
 * failure: such a call never started, and goes on elsewhere.
 *
 *   (none) ── a result that says so ──► excluded: agent × image, or agent × account × image
 *   excluded ── the agent says hello anew; its advert names the image, or the account gives
 *               credentials (where they were the reason); others came after it ──► (none)
 *
 * Images are named by their digests: another record of the same name is another image. What is
 * forgotten costs one attempt that does not start. Kept in memory alone, for the same reason.
 */

import type { ErrorCode } from '../../protocol/errors.ts'
import { imageKey } from '../../protocol/image.ts'
import { limits } from '../../protocol/limits.ts'
import { changeMembership } from './line.ts'
import type { Agent, Ledger, Terms } from './state.ts'

type Why = 'platform' | 'credentials'

type Wanted = Pick<Terms, 'accountId' | 'image'>

/** An image that an agent cannot get, and why. */
export interface Exclusion extends Wanted {
  readonly why: Why
}

const WHY: Partial<Record<ErrorCode, Why>> = {
  PLATFORM_MISMATCH: 'platform',
  REGISTRY_UNAUTHORIZED: 'credentials',
}

/** Null: an agent that ended an attempt so can still get the image. */
export const exclusionBy = (result: {
  readonly code: ErrorCode
  readonly started: boolean
}): Why | null => (result.started ? null : (WHY[result.code] ?? null))

/** Credentials are the account's own. */
const nameOf = ({ accountId, image }: Wanted, why: Why): string =>
  why === 'platform' ? imageKey(image) : `${imageKey(image)} ${accountId}`

export const exclusionOf = ({ excluded }: Agent, wanted: Wanted): Why | null => {
  if (excluded.size === 0) return null
  if (excluded.has(nameOf(wanted, 'platform'))) return 'platform'
  return excluded.has(nameOf(wanted, 'credentials')) ? 'credentials' : null
}

export const exclude = (ledger: Ledger, agent: Agent, wanted: Wanted, why: Why): void => {
  const { excluded } = agent
  excluded.set(nameOf(wanted, why), { why, accountId: wanted.accountId, image: wanted.image })
  const [oldest] = excluded.keys()
  if (excluded.size > limits.exclusionsPerAgentMax && oldest !== undefined) excluded.delete(oldest)
  changeMembership(ledger)
}

/** Of those for want of credentials; whether there were any. */
export const forgetExclusions = (
  { excluded }: Agent,
  isOver: (wanted: Wanted) => boolean,
): boolean => {
  const before = excluded.size
  for (const [name, { why, ...wanted }] of excluded) {
    if (why === 'credentials' && isOver(wanted)) excluded.delete(name)
  }
  return excluded.size < before
}
