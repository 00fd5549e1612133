/**
 * What a start found to be inconsistent among the stored rows: each by name, with what would drop it.
 * The store proves that the rows are those that were written (sums.ts); this is about rows that have
 * lost what they belong to, which follows from damage that was accepted, or from a fault of ours.
 *
 * Nothing is dropped by itself: without the operator's `--accept-data-loss` the start is refused.
 */

import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { TellLoss } from './store/damage.ts'
import type { Operation } from './store/store.ts'

export interface Loss {
  /** One line: which row, and what it has lost. */
  readonly what: string
  readonly operations: readonly Operation[]
}

export type OnLoss = (loss: Loss) => void

const damaged = (losses: readonly Loss[]): HyperError => {
  const named = losses.slice(0, limits.lossesNamedMax).map(({ what }) => what)
  const rest = losses.length - named.length
  const list = [...named, ...(rest > 0 ? [`${rest} more`] : [])].join('; ')
  return new HyperError('STATE_DAMAGED', `the stored state is inconsistent: ${list}`)
}

/** For whoever accepts none. */
export const refuseLoss: OnLoss = (loss) => {
  throw damaged([loss])
}

/** Throws STATE_DAMAGED unless they are accepted; else drops and tells each. */
export const settleLosses = async (
  losses: readonly Loss[],
  write: (operations: readonly Operation[]) => Promise<void>,
  tellLoss: TellLoss | null,
): Promise<void> => {
  if (losses.length === 0) return
  if (tellLoss === null) throw damaged(losses)
  for (const { what, operations } of losses) {
    await write(operations)
    tellLoss(what)
  }
}
