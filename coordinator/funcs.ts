/**
 * Functions: their definitions by account and name, and every revision that a call still needs.
 *
 * Rows: func/ACCOUNT/FUNC/REVISION. The newest revision is the function; older ones stay while a
 * call that was accepted with them is live. Keys hold ids: a name can be removed and given again.
 *
 *   there ── remove: its newest row is marked ──► leaving ── calls and caches gone ──► its rows go
 *
 * A function that leaves is found by nobody, but for the calls that it still has. They and its caches
 * go in parts, between which other commits pass; a start goes on with what a crash broke off.
 */

import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import Type from 'typebox'
import { HyperError } from '../protocol/errors.ts'
import { type Func, FuncSchema, type FuncSpec } from '../protocol/func.ts'
import {
  type ImageRecord,
  ImageRecordSchema,
  isEverywhere,
  platformsOf,
} from '../protocol/image.ts'
import { limits } from '../protocol/limits.ts'
import { readyKey } from '../protocol/ready-key.ts'
import { createParser } from '../protocol/schema.ts'
import type { Terms } from './ledger/state.ts'
import type { Account, Funcs, StoredFunc } from './ports.ts'
import { preparationOf } from './preparation.ts'
import { del, numberKey, type Operation, put, type Store } from './store/store.ts'

const parseRow = createParser(
  Type.Object({
    id: Type.String(),
    accountId: Type.String(),
    func: FuncSchema,
    image: ImageRecordSchema,
    isLeaving: Type.Optional(Type.Boolean()),
  }),
  'STATE_DAMAGED',
  'stored function',
)

const keyOf = (stored: StoredFunc): string =>
  `${stored.accountId}/${stored.id}/${numberKey(stored.func.Revision)}`

const hash = (text: string): Buffer => createHash('sha256').update(text).digest()

const termsOf = (stored: StoredFunc): Terms => {
  const preparation = preparationOf(stored)
  return {
    accountId: stored.accountId,
    funcId: stored.id,
    revision: stored.func.Revision,
    memoryBytes: preparation.memoryBytes,
    maxAttempts: stored.func.MaxAttempts,
    atMostOnce: stored.func.AtMostOnce,
    retryOnExit: stored.func.RetryOnExit,
    queueTimeoutMs: stored.func.QueueTimeout * 1000,
    timeoutMs: stored.func.Timeout * 1000,
    image: preparation.image,
    readyKey: readyKey(preparation),
    platforms: platformsOf(stored.image),
    isAnywhere: isEverywhere(stored.image) || stored.image.digest !== null,
    runtime: stored.func.Runtime,
    constraints: stored.func.Constraints,
  }
}

interface Deps {
  readonly store: Pick<Store, 'scan'>
  readonly write: (operations: readonly Operation[]) => Promise<void>
  readonly newId: () => string
  /** The account's record of an image, pulled where there is none. */
  readonly pinImage: (account: Account, reference: string) => Promise<ImageRecord>
  /** Calls of a function, or of one revision of it, that are not final. */
  readonly liveCalls: (funcId: string, revision?: number) => number
  readonly hasAccount: (accountId: string) => boolean
  /** Cancels some of the function's calls in the ledger. */
  readonly cancelCalls: (funcId: string) => void
  /** What removes its caches, in parts. */
  readonly removeCaches: (funcId: string) => Iterable<readonly Operation[]>
  /** It is new, or has a new revision, and calls of it may come. */
  readonly onSaved: (stored: StoredFunc) => void
}

export interface FuncBook extends Funcs {
  /** Any stored revision. */
  revision(funcId: string, revision: number): StoredFunc | null
  /** The terms of a stored revision, one object for all its calls. */
  terms(stored: StoredFunc): Terms
  hasFuncs(accountId: string): boolean
  /** Also one that leaves. */
  has(funcId: string): boolean
  /** Ends the removals that the last end broke off. After all is loaded. */
  finishRemovals(): Promise<void>
}

interface Entry {
  current: StoredFunc
  isLeaving: boolean
  readonly revisions: Map<number, { readonly stored: StoredFunc; readonly terms: Terms }>
}

const newEntry = (stored: StoredFunc): Entry => ({
  current: stored,
  isLeaving: false,
  revisions: new Map(),
})

export const loadFuncs = async (deps: Deps): Promise<FuncBook> => {
  const entries = new Map<string, Entry>()
  /** For the call plane: names are unique within an account only. */
  const byName = new Map<string, Set<string>>()
  const creating = new Set<string>()

  const enter = (stored: StoredFunc): Entry => {
    const entry = entries.get(stored.id) ?? newEntry(stored)
    if (stored.func.Revision >= entry.current.func.Revision) entry.current = stored
    entry.revisions.set(stored.func.Revision, { stored, terms: termsOf(stored) })
    entries.set(stored.id, entry)
    const ids = byName.get(stored.func.Name) ?? new Set()
    byName.set(stored.func.Name, ids.add(stored.id))
    return entry
  }

  const startLeaving = (entry: Entry): void => {
    const { id, func } = entry.current
    entry.isLeaving = true
    const ids = byName.get(func.Name)
    ids?.delete(id)
    if (ids?.size === 0) byName.delete(func.Name)
  }

  await deps.store.scan('func', (_key, value) => {
    const { isLeaving = false, ...stored } = parseRow(value)
    const entry = enter(stored)
    entry.isLeaving ||= isLeaving
  })
  for (const entry of entries.values()) if (entry.isLeaving) startLeaving(entry)

  const named = (name: string): StoredFunc[] =>
    [...(byName.get(name) ?? [])].flatMap((id) => entries.get(id)?.current ?? [])
  const get = (account: Account, name: string): StoredFunc | null =>
    named(name).find((stored) => stored.accountId === account.id) ?? null
  const mustGet = (account: Account, name: string): StoredFunc => {
    const stored = get(account, name)
    if (stored === null) throw new HyperError('FUNC_NOT_FOUND', `no such function: ${name}`)
    return stored
  }
  const list = (account: Account): StoredFunc[] =>
    [...entries.values()].flatMap(({ current, isLeaving }) =>
      current.accountId === account.id && !isLeaving ? [current] : [],
    )

  /** Older revisions that no live call needs any more. */
  const pruneRevisions = (funcId: string): Operation[] => {
    const entry = entries.get(funcId)
    if (entry === undefined) return []
    const old = [...entry.revisions.values()].filter(
      ({ stored }) =>
        stored !== entry.current && deps.liveCalls(funcId, stored.func.Revision) === 0,
    )
    for (const { stored } of old) entry.revisions.delete(stored.func.Revision)
    return old.map(({ stored }) => del('func', keyOf(stored)))
  }

  const saveRevision = async (stored: StoredFunc): Promise<StoredFunc> => {
    enter(stored)
    await deps.write([put('func', keyOf(stored), stored), ...pruneRevisions(stored.id)])
    deps.onSaved(stored)
    return stored
  }

  const createNew = async (account: Account, spec: FuncSpec): Promise<StoredFunc> => {
    if (get(account, spec.Name) !== null) {
      throw new HyperError('NAME_TAKEN', `function ${spec.Name} exists`)
    }
    if (list(account).length >= limits.functionsPerAccountMax) {
      throw new HyperError('TOO_MANY', `${limits.functionsPerAccountMax} functions exist already`)
    }
    const image = await deps.pinImage(account, spec.Config.Image)
    if (!deps.hasAccount(account.id)) {
      throw new HyperError('ACCOUNT_NOT_FOUND', `the account ${account.name} was removed`)
    }
    const func: Func = {
      ...spec,
      UUID: randomUUID(),
      Created: new Date().toISOString(),
      Revision: 1,
    }
    return saveRevision({ id: deps.newId(), accountId: account.id, func, image })
  }

  const finishRemoval = async ({ current, revisions }: Entry): Promise<void> => {
    while (deps.liveCalls(current.id) > 0) {
      deps.cancelCalls(current.id)
      await deps.write([])
    }
    for (const part of deps.removeCaches(current.id)) await deps.write(part)
    entries.delete(current.id)
    await deps.write([...revisions.values()].map(({ stored }) => del('func', keyOf(stored))))
  }

  return {
    async create(account, spec) {
      const slot = `${account.id}/${spec.Name}`
      // Pulling the image takes a while: the name is taken meanwhile.
      if (creating.has(slot)) throw new HyperError('NAME_TAKEN', `${spec.Name} is being created`)
      creating.add(slot)
      return createNew(account, spec).finally(() => creating.delete(slot))
    },
    async update(account, name, update) {
      const stored = mustGet(account, name)
      const { func } = stored
      return saveRevision({
        ...stored,
        func: {
          ...func,
          ContainerSize: update.ContainerSize ?? func.ContainerSize,
          Timeout: update.Timeout ?? func.Timeout,
          UUID: update.Refresh === true ? randomUUID() : func.UUID,
          Config: { ...func.Config, Env: [...(update.Env ?? func.Config.Env)] },
          Revision: func.Revision + 1,
        },
      })
    },
    list: (account) => list(account).sort((a, b) => (a.func.Created < b.func.Created ? 1 : -1)),
    get,
    byUrl(name, uuid) {
      const wanted = hash(uuid)
      // The same work whether the name or the secret is wrong.
      const candidates = named(name)
      const hashes = candidates.length > 0 ? candidates : [null]
      const found = hashes.filter((stored) =>
        timingSafeEqual(hash(stored?.func.UUID ?? ''), wanted),
      )
      return found[0] ?? null
    },
    byId(funcId) {
      const entry = entries.get(funcId)
      return entry === undefined || entry.isLeaving ? null : entry.current
    },
    has: (funcId) => entries.has(funcId),
    revision: (funcId, revision) => entries.get(funcId)?.revisions.get(revision)?.stored ?? null,
    terms: (stored) =>
      entries.get(stored.id)?.revisions.get(stored.func.Revision)?.terms ?? termsOf(stored),
    hasFuncs: (accountId) =>
      [...entries.values()].some(({ current }) => current.accountId === accountId),
    async remove(account, name, force) {
      const stored = mustGet(account, name)
      const live = deps.liveCalls(stored.id)
      if (live > 0 && !force) {
        throw new HyperError('FUNC_BUSY', `${live} calls of ${name} wait or run`)
      }
      const entry = entries.get(stored.id)
      if (entry === undefined) return
      startLeaving(entry)
      await deps.write([put('func', keyOf(stored), { ...stored, isLeaving: true })])
      await finishRemoval(entry)
    },
    async finishRemovals() {
      // Those that begin to leave from now on are ended by who asked for it.
      const left = [...entries.values()].filter(({ isLeaving }) => isLeaving)
      for (const entry of left) await finishRemoval(entry)
    },
  }
}
