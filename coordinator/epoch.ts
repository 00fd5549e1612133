/**
 * The epoch: one number for each start of the coordinator, in every order it gives. Agents obey no
 * lower one than they have obeyed before, so a coordinator that was replaced by a restored one gives
 * no orders beside it.
 *
 * An agent that has obeyed a higher epoch tells so in its hello. The highest one told is remembered,
 * so that a restart does not go past it by itself: agents would follow, and leave the coordinator
 * that took over. Only the operator raises it above (`--raise-epoch`). A member's word never raises
 * it, and never stops it: it goes on for the other agents, and each start still has a new number.
 * What nobody's epoch can be is not remembered, so that no member can use the numbers up.
 *
 * A raised epoch, as that of a restored coordinator, is far above all others: the coordinator that it
 * replaces reaches it neither by its restarts nor, where nobody told it, by its clock.
 */

import Type from 'typebox'
import { limits } from '../protocol/limits.ts'
import { createParser } from '../protocol/schema.ts'
import { type Operation, put, type Store } from './store/store.ts'

const parseEpoch = createParser(Type.Integer({ minimum: 0 }), 'STATE_DAMAGED', 'stored epoch')

const TOLD = 'epoch-told'

interface Past {
  /** The epoch of the last start; 0 for none. */
  readonly last: number
  /** The highest one that an agent has told of; 0 for none. */
  readonly told: number
}

/**
 * Above the last one, and at least the wall clock's seconds, so that one whose state was set back by
 * hand is ahead all the same; but not past one it was told of, unless it is raised.
 */
export const nextEpoch = ({ last, told }: Past, wallSeconds: number, isRaised: boolean): number => {
  const next = last + 1
  if (isRaised) return Math.max(last, wallSeconds, told) + limits.raisedEpochGap
  const highest = told > last ? told - 1 : Number.POSITIVE_INFINITY
  return Math.max(next, Math.min(wallSeconds, highest))
}

export const readPast = async (store: Pick<Store, 'get'>): Promise<Past> => ({
  last: parseEpoch((await store.get('meta', 'epoch')) ?? 0),
  told: parseEpoch((await store.get('meta', TOLD)) ?? 0),
})

/** The epoch of this start. Durable when it resolves. */
export const raiseEpoch = async (
  store: Pick<Store, 'get' | 'commit'>,
  wallMs: number,
  isRaised: boolean,
): Promise<{ readonly epoch: number; readonly told: number }> => {
  const past = await readPast(store)
  const epoch = nextEpoch(past, Math.floor(wallMs / 1000), isRaised)
  await store.commit([put('meta', 'epoch', epoch)])
  return { epoch, told: past.told }
}

export interface EpochWatch {
  /** An agent has obeyed an epoch that is not ours. */
  told(epochSeen: number): void
}

/** Remembers the highest epoch that agents told of. */
export const watchEpochs = (
  { epoch, told }: { readonly epoch: number; readonly told: number },
  record: (operations: readonly Operation[]) => void,
): EpochWatch => {
  let highest = told
  return {
    told(epochSeen) {
      if (epochSeen <= highest || epochSeen > epoch + limits.epochAheadMax) return
      highest = epochSeen
      record([put('meta', TOLD, highest)])
    },
  }
}
