/**
 * The mark of a state that comes from a backup: `hyper restore` sets it, the first start after it
 * settles what it means, and takes it away. What the coordinator of the backup did since nobody
 * knows. So the new one's epoch is above all that agents can have obeyed, and at-most-once calls of
 * the backup are ended: they may have run. Whatever else lived in the backup is run again.
 */

import type { Log } from '../daemon/log.ts'
import { limits } from '../protocol/limits.ts'
import { nextEpoch, readPast } from './epoch.ts'
import { atMostOnceCalls } from './ledger/lost.ts'
import type { Ledger } from './ledger/state.ts'
import { del, put, type Store } from './store/store.ts'
import type { Transactions } from './transactions.ts'

/** Row of `meta`: when the backup was made that the state comes from, until the next start. */
export const RESTORED = 'restored'

/** After all rows of the backup are written. Returns the epoch, which the next start will exceed. */
export const markRestored = async (
  store: Pick<Store, 'get' | 'commit'>,
  made: string,
  wallMs: number,
): Promise<number> => {
  const epoch = nextEpoch(await readPast(store), Math.floor(wallMs / 1000), true)
  await store.commit([put('meta', 'epoch', epoch), put('meta', RESTORED, made)])
  return epoch
}

/** The mark goes after what follows from it, so a crash in between only does it again. */
export const settleRestored = async (
  store: Pick<Store, 'get'>,
  ledger: Pick<Ledger, 'calls'>,
  { apply, settled, write }: Transactions,
  log: Log,
): Promise<void> => {
  const made = await store.get('meta', RESTORED)
  if (made === undefined) return
  const left = [...atMostOnceCalls(ledger)]
  while (left.length > 0) {
    apply({ type: 'restored', callIds: left.splice(0, limits.removedPerStepMax) })
    await settled()
  }
  await write([del('meta', RESTORED)])
  log.warn({ made }, 'started from a backup; at-most-once calls that were in it have ended')
}
