/**
 * What each account knows of images: the record that the first agent which pulled one reported
 * (reference → digest, platforms, config). Functions are pinned to it. Rows: image/ACCOUNT/REFERENCE.
 * The coordinator has no engine: pulls are done by an agent. Credentials that a pull succeeded with
 * are kept with the account, for agents that need the image later (accounts.ts).
 */

import { HyperError } from '../protocol/errors.ts'
import {
  type ImageRecord,
  ImageRecordSchema,
  parseReference,
  registryOf,
} from '../protocol/image.ts'
import { limits } from '../protocol/limits.ts'
import { createParser } from '../protocol/schema.ts'
import type { Account, Images } from './ports.ts'
import { del, type Operation, put, type Store } from './store/store.ts'

const parseRow = createParser(ImageRecordSchema, 'STATE_DAMAGED', 'stored image')

/** One pull on some agent. */
export type PullOnAgent = (
  reference: string,
  auth: string,
  onProgress: (line: string) => void,
  signal: AbortSignal,
) => Promise<ImageRecord>

interface Deps {
  readonly store: Pick<Store, 'scan'>
  readonly write: (operations: readonly Operation[]) => Promise<void>
  readonly pullOnAgent: PullOnAgent
  /** The account's value of X-Registry-Auth; '' where it has none. */
  readonly registryAuth: (accountId: string, registry: string) => string
  readonly keepRegistryAuth: (accountId: string, registry: string, auth: string) => Promise<void>
}

/** What registries say of an image that is not for everybody. */
const mayNeedAuth = (error: unknown): boolean =>
  error instanceof HyperError &&
  (error.code === 'REGISTRY_UNAUTHORIZED' || error.code === 'IMAGE_NOT_FOUND')

export interface ImageBook extends Images {
  /** The account's record, pulled where there is none. IMAGE_NOT_FOUND, NO_AGENT, PULL_FAILED … */
  pin(account: Account, reference: string): Promise<ImageRecord>
  /** The account goes. */
  forget(accountId: string): Operation[]
}

export const loadImages = async (deps: Deps): Promise<ImageBook> => {
  const records = new Map<string, ImageRecord>()
  await deps.store.scan('image', (key, value) => void records.set(key, parseRow(value)))

  const keyOf = (account: Account, canonical: string): string => `${account.id}/${canonical}`
  /** The least recently pulled first. */
  const keysOf = (accountId: string): string[] =>
    [...records.keys()].filter((key) => key.startsWith(`${accountId}/`))

  const get = (account: Account, reference: string): ImageRecord | null =>
    records.get(keyOf(account, parseReference(reference).canonical)) ?? null

  /** Functions keep the record they were pinned to, so an old one of no function can go. */
  const trim = (account: Account): Operation[] => {
    const own = keysOf(account.id)
    const old = own.slice(0, Math.max(0, own.length - limits.imagesPerAccountMax))
    for (const key of old) records.delete(key)
    return old.map((key) => del('image', key))
  }

  const pull: Images['pull'] = async (account, reference, auth, onProgress, signal) => {
    const { canonical } = parseReference(reference)
    const record = await deps.pullOnAgent(canonical, auth, onProgress, signal)
    if (auth !== '') await deps.keepRegistryAuth(account.id, registryOf(canonical), auth)
    const kept = { ...record, reference: canonical, isPrivate: auth !== '' }
    const key = keyOf(account, canonical)
    records.delete(key)
    records.set(key, kept)
    await deps.write([put('image', key, kept), ...trim(account)])
    return kept
  }

  return {
    list: (account) => keysOf(account.id).flatMap((key) => records.get(key) ?? []),
    get,
    pull,
    forget(accountId) {
      const keys = keysOf(accountId)
      for (const key of keys) records.delete(key)
      return keys.map((key) => del('image', key))
    },
    async pin(account, reference) {
      const known = get(account, reference)
      if (known !== null) return known
      const never = new AbortController().signal
      const pullWith = (auth: string): Promise<ImageRecord> =>
        pull(account, reference, auth, () => undefined, never)
      const kept = deps.registryAuth(account.id, registryOf(reference))
      // Without them first: the fewer agents see them the better.
      const pulled = pullWith('').catch((error: unknown) => {
        if (kept === '' || !mayNeedAuth(error)) throw error
        return pullWith(kept)
      })
      return pulled.catch((error: unknown) => {
        if (error instanceof HyperError && error.code === 'IMAGE_NOT_FOUND') {
          throw new HyperError('IMAGE_NOT_FOUND', `no such image: ${reference}`, { cause: error })
        }
        throw error
      })
    },
  }
}
