/** `hyper login` and `hyper context`: which coordinators this machine knows. */

import { createClient } from '../../client/client.ts'
import { parseEndpoint } from '../../client/transport.ts'
import type { ClientConfig } from '../../protocol/client-config.ts'
import { HyperError } from '../../protocol/errors.ts'
import { readContexts, writeContexts } from '../context.ts'
import { firstArgument, type Input } from '../input.ts'
import { readToken } from '../secret.ts'

/** The token is tried before it is kept. */
export const login = async (input: Input): Promise<undefined> => {
  const { environment, flags, output } = input
  const endpoint = parseEndpoint(firstArgument(input))
  const kept = await readContexts(environment.home)
  const token = await readToken(`Token for ${endpoint}: `)
  const { Hyper } = await createClient({ endpoint, token }).overview()
  const name = flags.text('context') ?? new URL(endpoint).host
  await writeContexts(environment.home, {
    current: name,
    contexts: { ...kept.contexts, [name]: { endpoint, token } },
  })
  if (output.isJson) output.json({ name, endpoint, account: Hyper.account })
  else output.line(`Logged in to ${endpoint} as ${Hyper.account} (context ${name})`)
  return undefined
}

export const listContexts = async ({ environment, output }: Input): Promise<undefined> => {
  const { current, contexts } = await readContexts(environment.home)
  const rows = Object.entries(contexts).map(([name, { endpoint }]) => ({
    name,
    endpoint,
    current: name === current,
  }))
  output.listing(rows, ['NAME', 'ENDPOINT', 'CURRENT'], (row) => [
    row.name,
    row.endpoint,
    row.current ? '*' : '',
  ])
  return undefined
}

const readNamed = async (input: Input): Promise<{ name: string; kept: ClientConfig }> => {
  const name = firstArgument(input)
  const kept = await readContexts(input.environment.home)
  if (!Object.hasOwn(kept.contexts, name)) {
    throw new HyperError('NOT_FOUND', `no such context: ${name}; \`hyper context ls\` lists them`)
  }
  return { name, kept }
}

export const selectContext = async (input: Input): Promise<undefined> => {
  const { name, kept } = await readNamed(input)
  await writeContexts(input.environment.home, { ...kept, current: name })
  input.output.line(name)
  return undefined
}

export const removeContext = async (input: Input): Promise<undefined> => {
  const { name, kept } = await readNamed(input)
  const { [name]: _gone, ...contexts } = kept.contexts
  const current = kept.current === name ? '' : kept.current
  await writeContexts(input.environment.home, { current, contexts })
  input.output.line(name)
  return undefined
}
