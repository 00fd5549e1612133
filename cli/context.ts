/**
 * The client's contexts, `client.json` in HYPER_HOME: for each name an endpoint and its token.
 * The file holds secrets: it is written 0600, whole or not at all, and not read when others could.
 * Here is also decided which endpoint and credentials a command uses: flag, environment, file,
 * default. A token is only sent where it belongs: to the endpoint it is kept with, or another name
 * of this machine.
 */

import { randomUUID } from 'node:crypto'
import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Static } from 'typebox'
import { createReader } from '../client/shape.ts'
import { parseEndpoint } from '../client/transport.ts'
import { HyperError, messageOf } from '../protocol/errors.ts'
import type { Environment } from './environment.ts'

const shape = {
  type: 'object',
  required: ['current', 'contexts'],
  properties: {
    current: { type: 'string' },
    contexts: {
      type: 'object',
      additionalProperties: {
        type: 'object',
        required: ['endpoint', 'token'],
        properties: { endpoint: { type: 'string' }, token: { type: 'string' } },
      },
    },
  },
} as const

export type Contexts = Static<typeof shape>
type Context = Contexts['contexts'][string]

const DEFAULT_ENDPOINT = 'http://127.0.0.1:7480'
const EMPTY: Contexts = { current: '', contexts: {} }

const readShape = createReader(shape, 'client.json')

export const contextsPath = (home: string): string => join(home, 'client.json')

const bad = (path: string, why: string): HyperError =>
  new HyperError('BAD_PARAMETER', `${path} ${why}`)

/** No file is no contexts. */
export const readContexts = async (home: string): Promise<Contexts> => {
  const path = contextsPath(home)
  const found = await stat(path).catch((error: unknown) => {
    if (error instanceof Error && Reflect.get(error, 'code') === 'ENOENT') return null
    throw bad(path, `cannot be read: ${messageOf(error)}`)
  })
  if (found === null) return EMPTY
  if ((found.mode & 0o077) !== 0) {
    throw bad(path, `holds tokens and can be read by others; run \`chmod 600 ${path}\``)
  }
  try {
    return readShape(JSON.parse(await readFile(path, 'utf8')))
  } catch (error) {
    throw bad(
      path,
      `is not a file of contexts (${messageOf(error)}); move it away and log in again`,
    )
  }
}

export const writeContexts = async (home: string, contexts: Contexts): Promise<void> => {
  const path = contextsPath(home)
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const aside = `${path}.${randomUUID()}`
  const file = await open(aside, 'wx', 0o600)
  try {
    // The mode of `open` passes through the umask, which can only take away; said once more.
    await chmod(aside, 0o600)
    await file.writeFile(`${JSON.stringify(contexts, null, 2)}\n`)
    await file.sync()
    await rename(aside, path)
  } catch (error) {
    await rm(aside, { force: true })
    throw error
  } finally {
    await file.close()
  }
}

export interface Target {
  readonly endpoint: string
  readonly token?: string
  readonly keys?: { readonly accessKey: string; readonly secretKey: string }
}

const isLoopback = (endpoint: string): boolean =>
  /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(endpoint).hostname)

/** The chosen one; without a choice the coordinator's own, which it writes as `default`. */
const currentOf = ({ current, contexts }: Contexts): Context | undefined =>
  contexts[current] ?? contexts.default

const tokenFor = (endpoint: string, contexts: Contexts): string | undefined => {
  const kept = currentOf(contexts)
  if (kept !== undefined && parseEndpoint(kept.endpoint) === endpoint) return kept.token
  const all = Object.values(contexts.contexts)
  const same = all.find((one) => parseEndpoint(one.endpoint) === endpoint)
  if (same !== undefined) return same.token
  return kept !== undefined && isLoopback(kept.endpoint) && isLoopback(endpoint)
    ? kept.token
    : undefined
}

/** Which coordinator, and by which credentials. */
export const chooseTarget = async (
  flag: string | undefined,
  environment: Environment,
): Promise<Target> => {
  const named = flag ?? environment.endpoint
  const { token, keys } = environment
  // A file that cannot be read is no matter to a command that does not need it.
  if (named !== undefined && token !== undefined) return { endpoint: parseEndpoint(named), token }
  if (named !== undefined && keys !== undefined) return { endpoint: parseEndpoint(named), keys }
  const contexts = await readContexts(environment.home)
  const endpoint = parseEndpoint(named ?? currentOf(contexts)?.endpoint ?? DEFAULT_ENDPOINT)
  if (token !== undefined) return { endpoint, token }
  if (keys !== undefined) return { endpoint, keys }
  const kept = tokenFor(endpoint, contexts)
  return kept === undefined ? { endpoint } : { endpoint, token: kept }
}
