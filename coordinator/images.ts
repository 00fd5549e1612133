/**
 * What each account knows of images: the record that the first agent which pulled one reported
 * (reference → digest, platform, config). Functions are pinned to it. Rows: image/ACCOUNT/REFERENCE.
 * The coordinator has no engine: pulls are done by an agent.
 */

import { HyperError } from '../protocol/errors.ts'
import { type ImageRecord, ImageRecordSchema, parseReference } from '../protocol/image.ts'
import { createParser } from '../protocol/schema.ts'
import type { Account, Images } from './ports.ts'
import { type Operation, put, type Store } from './store.ts'

const parseRow = createParser(ImageRecordSchema, 'STATE_DAMAGED', 'stored image')

/** One pull on some agent. */
type PullOnAgent = (
  reference: string,
  auth: string,
  onProgress: (line: string) => void,
  signal: AbortSignal,
) => Promise<ImageRecord>

interface Deps {
  readonly store: Pick<Store, 'range'>
  readonly write: (operations: readonly Operation[]) => Promise<void>
  readonly pullOnAgent: PullOnAgent
}

export interface ImageBook extends Images {
  /** The account's record, pulled where there is none. IMAGE_NOT_FOUND, NO_AGENT, PULL_FAILED … */
  pin(account: Account, reference: string): Promise<ImageRecord>
}

export const loadImages = async (deps: Deps): Promise<ImageBook> => {
  const records = new Map<string, ImageRecord>()
  for await (const [key, value] of deps.store.range('image')) records.set(key, parseRow(value))

  const keyOf = (account: Account, canonical: string): string => `${account.id}/${canonical}`

  const get = (account: Account, reference: string): ImageRecord | null =>
    records.get(keyOf(account, parseReference(reference).canonical)) ?? null

  const pull: Images['pull'] = async (account, reference, auth, onProgress, signal) => {
    const { canonical } = parseReference(reference)
    const record = await deps.pullOnAgent(canonical, auth, onProgress, signal)
    const kept = { ...record, reference: canonical }
    records.set(keyOf(account, canonical), kept)
    await deps.write([put('image', keyOf(account, canonical), kept)])
    return kept
  }

  return {
    list: (account) =>
      [...records].flatMap(([key, record]) => (key.startsWith(`${account.id}/`) ? [record] : [])),
    get,
    pull,
    async pin(account, reference) {
      const known = get(account, reference)
      if (known !== null) return known
      const never = new AbortController().signal
      return pull(account, reference, '', () => undefined, never).catch((error: unknown) => {
        if (error instanceof HyperError && error.code === 'IMAGE_NOT_FOUND') {
          throw new HyperError('IMAGE_NOT_FOUND', `no such image: ${reference}`, { cause: error })
        }
        throw error
      })
    },
  }
}
