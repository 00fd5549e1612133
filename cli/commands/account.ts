/** `hyper account`: accounts, their tokens, keys and quotas. */

import type { AccountCredentials } from '../../client/client.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { type Flags, firstArgument, type Input } from '../input.ts'
import type { Output } from '../output.ts'
import { formatAgo, parseCount } from '../quantity.ts'

const quotaOf = (flags: Flags): number | undefined => {
  const text = flags.text('quota')
  return text === undefined ? undefined : parseCount(text, '--quota', { max: limits.quotaMax })
}

const printCredentials = (credentials: AccountCredentials, output: Output): undefined => {
  const { name, token, accessKey, secretKey, quota } = credentials
  if (output.isJson) output.json({ name, token, accessKey, secretKey, quota })
  else if (output.isQuiet) output.line(token)
  else {
    output.line(`Account:     ${name}`)
    output.line(`Token:       ${token}`)
    output.line(`Access key:  ${accessKey}`)
    output.line(`Secret key:  ${secretKey}`)
    output.line(`Quota:       ${quota}`)
    output.note('Keep them now: they are not shown again.')
  }
  return undefined
}

export const createAccount = async (input: Input): Promise<undefined> => {
  const name = firstArgument(input)
  const quota = quotaOf(input.flags)
  const client = await input.connect()
  return printCredentials(await client.accounts.create(name, quota), input.output)
}

export const rotateAccount = async (input: Input): Promise<undefined> => {
  const client = await input.connect()
  return printCredentials(await client.accounts.rotate(firstArgument(input)), input.output)
}

export const listAccounts = async ({ connect, output }: Input): Promise<undefined> => {
  const client = await connect()
  const accounts = await client.accounts.list()
  const nowMs = Date.now()
  const columns = ['NAME', 'QUOTA', 'RUNNING', 'WAITING', 'OPERATOR', 'CREATED', 'ACCESS KEY']
  output.listing(accounts, columns, (account) => [
    account.name,
    String(account.quota),
    String(account.running ?? 0),
    String(account.waiting ?? 0),
    account.operator === true ? 'yes' : 'no',
    formatAgo(account.created ?? null, nowMs),
    account.accessKey ?? '',
  ])
  return undefined
}

export const setQuota = async (input: Input): Promise<undefined> => {
  const name = firstArgument(input)
  const quota = quotaOf(input.flags)
  if (quota === undefined) throw new HyperError('BAD_PARAMETER', 'nothing to set: give --quota N')
  const client = await input.connect()
  const account = await client.accounts.setQuota(name, quota)
  if (input.output.isJson) input.output.json(account)
  else input.output.line(account.name)
  return undefined
}

export const removeAccount = async (input: Input): Promise<undefined> => {
  const name = firstArgument(input)
  await (await input.connect()).accounts.remove(name)
  input.output.line(name)
  return undefined
}
