/**
 * Accounts: who may call the management plane, and each one's quota. Tokens are kept as SHA-256 of
 * their bytes and compared in constant time; the secret key is kept, because signatures are checked
 * against it. The credentials of registries that an account gave with its pulls are kept sealed
 * (secret-box.ts), the last of each registry, for agents that pull its images later. Rows: account/ID.
 */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import Type, { type Static } from 'typebox'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { createParser } from '../protocol/schema.ts'
import type { Account, Accounts, Credentials } from './ports.ts'
import type { SecretBox } from './secret-box.ts'
import { del, type Operation, put, type Store } from './store/store.ts'

const AccountRowSchema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  quota: Type.Integer({ minimum: 0 }),
  operator: Type.Boolean(),
  accessKey: Type.String(),
  secretKey: Type.String(),
  tokenHash: Type.String(),
  created: Type.String(),
  /** Values of X-Registry-Auth by registry, sealed; the one that was given first is first. */
  registryAuths: Type.Optional(Type.Record(Type.String(), Type.String())),
})
type AccountRow = Static<typeof AccountRowSchema>
const parseRow = createParser(AccountRowSchema, 'STATE_DAMAGED', 'stored account')

const NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/

const hash = (token: string): string => createHash('sha256').update(token).digest('hex')
const newSecret = (): string => randomBytes(limits.tokenBytes).toString('base64url')

/** A management token: 256 random bits. */
export const newToken = newSecret

const isSameHash = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))

interface Deps {
  readonly store: Pick<Store, 'scan'>
  readonly write: (operations: readonly Operation[]) => Promise<void>
  readonly newId: () => string
  /** Tells the ledger. */
  readonly onQuota: (accountId: string, quota: number) => void
  readonly onAdded: (accountId: string, quota: number) => void
  readonly onRemoved: (accountId: string) => void
  readonly hasFuncs: (accountId: string) => boolean
  readonly secrets: SecretBox
  /** At the load: what was kept for it cannot be read. */
  readonly onUnreadableAuth: (account: Account, registry: string) => void
}

export interface AccountBook extends Accounts {
  byName(name: string): Account | null
  /** Makes an account with operator's rights: the default one. */
  createOperator(name: string, quota: number, token: string): Promise<Credentials>
  /** Value of X-Registry-Auth; '' where none is kept, or it cannot be read. */
  registryAuth(accountId: string, registry: string): string
  keepRegistryAuth(accountId: string, registry: string, auth: string): Promise<void>
}

const view = (row: AccountRow): Account => ({
  id: row.id,
  name: row.name,
  quota: row.quota,
  operator: row.operator,
  accessKey: row.accessKey,
  created: row.created,
})

const checkQuota = (quota: number): void => {
  if (!Number.isSafeInteger(quota) || quota < 0 || quota > limits.quotaMax) {
    throw new HyperError('BAD_PARAMETER', `not a quota: ${quota} (0 to ${limits.quotaMax})`)
  }
}

export const loadAccounts = async (deps: Deps): Promise<AccountBook> => {
  const rows = new Map<string, AccountRow>()
  const byHash = new Map<string, AccountRow>()
  const byKey = new Map<string, AccountRow>()
  const enter = (row: AccountRow): void => {
    const former = rows.get(row.id)
    if (former !== undefined) byHash.delete(former.tokenHash)
    rows.set(row.id, row)
    byHash.set(row.tokenHash, row)
    byKey.set(row.accessKey, row)
  }
  await deps.store.scan('account', (_key, value) => enter(parseRow(value)))

  const openAuth = ({ id, registryAuths }: AccountRow, registry: string): string | null => {
    const sealed = registryAuths?.[registry]
    return sealed === undefined ? '' : deps.secrets.open(sealed, `${id}/${registry}`)
  }
  for (const row of rows.values()) {
    for (const registry of Object.keys(row.registryAuths ?? {})) {
      if (openAuth(row, registry) === null) deps.onUnreadableAuth(view(row), registry)
    }
  }
  const registryAuth: AccountBook['registryAuth'] = (accountId, registry) => {
    const row = rows.get(accountId)
    return (row === undefined ? null : openAuth(row, registry)) ?? ''
  }

  const find = (name: string): AccountRow | undefined =>
    [...rows.values()].find((row) => row.name === name)
  const mustFind = (name: string): AccountRow => {
    const row = find(name)
    if (row === undefined) throw new HyperError('ACCOUNT_NOT_FOUND', `no such account: ${name}`)
    return row
  }
  const save = async (row: AccountRow): Promise<void> => {
    enter(row)
    await deps.write([put('account', row.id, row)])
  }
  const add = async (
    name: string,
    quota: number,
    operator: boolean,
    token: string,
  ): Promise<Credentials> => {
    checkQuota(quota)
    if (!NAME.test(name)) {
      throw new HyperError(
        'BAD_PARAMETER',
        `not an account name: ${JSON.stringify(name.slice(0, 80))} (1–63 of a–z, 0–9 and -, no - at an end)`,
      )
    }
    if (find(name) !== undefined) throw new HyperError('NAME_TAKEN', `account ${name} exists`)
    const row: AccountRow = {
      id: deps.newId(),
      name,
      quota,
      operator,
      accessKey: randomBytes(16).toString('hex').toUpperCase(),
      secretKey: newSecret(),
      tokenHash: hash(token),
      created: new Date().toISOString(),
    }
    deps.onAdded(row.id, quota)
    await save(row)
    return { name, token, accessKey: row.accessKey, secretKey: row.secretKey, quota }
  }

  return {
    byToken(token) {
      const expected = hash(token)
      const row = byHash.get(expected)
      return row !== undefined && isSameHash(row.tokenHash, expected) ? view(row) : null
    },
    byAccessKey(accessKey) {
      const row = byKey.get(accessKey)
      return row === undefined ? null : { account: view(row), secretKey: row.secretKey }
    },
    list: () => [...rows.values()].map(view),
    byName(name) {
      const row = find(name)
      return row === undefined ? null : view(row)
    },
    registryAuth,
    async keepRegistryAuth(accountId, registry, auth) {
      if (registryAuth(accountId, registry) === auth) return
      const sealed = await deps.secrets.seal(auth, `${accountId}/${registry}`)
      const row = rows.get(accountId)
      if (row === undefined) throw new HyperError('ACCOUNT_NOT_FOUND', 'the account was removed')
      const { [registry]: _former, ...others } = row.registryAuths ?? {}
      const kept = [...Object.entries(others), [registry, sealed]]
      const registryAuths = Object.fromEntries(kept.slice(-limits.registriesPerAccountMax))
      await save({ ...row, registryAuths })
    },
    create: (name, quota) => add(name, quota, false, newToken()),
    createOperator: (name, quota, token) => add(name, quota, true, token),
    async setQuota(name, quota) {
      checkQuota(quota)
      const row = { ...mustFind(name), quota }
      await save(row)
      if (!rows.has(row.id)) {
        throw new HyperError('ACCOUNT_NOT_FOUND', `the account ${name} was removed meanwhile`)
      }
      deps.onQuota(row.id, quota)
      return view(row)
    },
    async rotate(name) {
      const token = newToken()
      const row = { ...mustFind(name), tokenHash: hash(token), secretKey: newSecret() }
      await save(row)
      const { accessKey, secretKey, quota } = row
      return { name, token, accessKey, secretKey, quota }
    },
    async remove(name) {
      const row = mustFind(name)
      if (row.operator)
        throw new HyperError('BAD_PARAMETER', `${name} is the operator’s account, which stays`)
      if (deps.hasFuncs(row.id)) {
        throw new HyperError('ACCOUNT_BUSY', `account ${name} still has functions`)
      }
      rows.delete(row.id)
      byHash.delete(row.tokenHash)
      byKey.delete(row.accessKey)
      deps.onRemoved(row.id)
      await deps.write([del('account', row.id)])
    },
  }
}
