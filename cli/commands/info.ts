/** `hyper info` and `hyper version`. */

import type { Overview } from '../../client/client.ts'
import { VERSION } from '../../protocol/version.ts'
import type { Input } from '../input.ts'

const rowsOf = (endpoint: string, { Hyper }: Overview): readonly (readonly [string, string])[] => {
  const { agents } = Hyper
  return [
    ['Coordinator', endpoint],
    ...(Hyper.publicUrl === undefined ? [] : [['Public URL', Hyper.publicUrl] as const]),
    ['Version', Hyper.version],
    ['Account', `${Hyper.account}${Hyper.operator ? ' (operator)' : ''}`],
    ['Quota', `${Hyper.quota}`],
    ['Running', `${Hyper.running}`],
    ['Waiting', `${Hyper.waiting}`],
    ...(agents === undefined
      ? []
      : [
          [
            'Agents',
            `${agents.connected} connected, ${agents.free} of ${agents.slots} slots free`,
          ] as const,
        ]),
    ['Peer id', Hyper.peerId],
    ...Hyper.mesh.map((address, index) => [index === 0 ? 'Mesh' : '', address] as const),
  ]
}

export const showInfo = async ({ connect, output }: Input): Promise<undefined> => {
  const client = await connect()
  const overview = await client.overview()
  if (output.isJson) {
    output.json({ endpoint: client.endpoint, ...overview.Hyper })
    return undefined
  }
  for (const [name, value] of rowsOf(client.endpoint, overview)) {
    output.line(`${(name === '' ? '' : `${name}:`).padEnd(14)}${value}`)
  }
  return undefined
}

/** Prints its own version also when the coordinator does not answer; that is an error then. */
export const showVersion = async ({ connect, output }: Input): Promise<undefined> => {
  const own = { version: VERSION, node: process.versions.node }
  if (!output.isJson) output.line(`Client:  hyper ${own.version} (Node ${own.node})`)
  const client = await connect()
  try {
    const { Version, ApiVersion } = await client.version()
    if (output.isJson) output.json({ client: own, server: { version: Version, api: ApiVersion } })
    else output.line(`Server:  hyper ${Version} (API ${ApiVersion})`)
  } catch (error) {
    if (output.isJson) output.json({ client: own, server: null })
    throw error
  }
  return undefined
}
