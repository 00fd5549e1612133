/**
 * The coordinator's key in the mesh (protocol/mesh/identity.ts). Its first start makes it, and has it
 * on the disk before the store has an epoch. So where there is an epoch there was a key: one that is
 * lost or damaged is not replaced unless the operator accepts the loss, for every agent knows the
 * coordinator by it and takes one with another key for a stranger.
 */

import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { HyperError, isMissing } from '../protocol/errors.ts'
import { createIdentity, readIdentity } from '../protocol/mesh/identity.ts'
import { readPast } from './epoch.ts'
import type { TellLoss } from './store/damage.ts'
import type { Store } from './store/store.ts'
import { isDamage } from './store/survey.ts'

type Identity = Awaited<ReturnType<typeof createIdentity>>

const readFormer = async (path: string): Promise<Identity> => {
  const key = await readIdentity(path)
  if (key !== null) return key
  const what = `${path} is lost, the key by which every agent knows this coordinator`
  throw new HyperError('STATE_DAMAGED', `${what}: put the file back, if there is a copy`)
}

/** What is left of a damaged one stays beside it, as of the ledger. */
const setAside = (path: string): Promise<void> =>
  rename(path, `${path}.damaged-${Date.now()}`).catch((error: unknown) => {
    if (!isMissing(error)) throw error
  })

/** Of the home whose folder the store holds. Throws STATE_DAMAGED where no loss is accepted. */
export const loadIdentity = async (
  home: string,
  store: Pick<Store, 'get'>,
  tellLoss: TellLoss | null,
): Promise<Identity> => {
  const path = join(home, 'identity')
  const isFirstStart = (await readPast(store)).last === 0
  if (isFirstStart) return (await readIdentity(path)) ?? (await createIdentity(path))
  try {
    return await readFormer(path)
  } catch (error) {
    if (tellLoss === null || !isDamage(error)) throw error
    await setAside(path)
    const key = await createIdentity(path)
    tellLoss(`the key in ${path}: a new one is made, and every agent must join anew with a ticket`)
    return key
  }
}
