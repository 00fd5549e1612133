/**
 * The client's contexts, `client.json` in HYPER_HOME: for each name an endpoint and its token.
 * The file holds secrets: it is a private one (protocol/private-file.ts), and not read when others
 * could.
 * Here is also decided which endpoint and credentials a command uses: flag, environment, file,
 * default. A token is only sent where it belongs: to the endpoint it is kept with, or another name
 * of this machine.
 */

import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseEndpoint } from '../client/transport.ts'
import {
  type ClientConfig,
  type ClientContext,
  NO_CONTEXTS,
  parseClientConfig,
  printClientConfig,
} from '../protocol/client-config.ts'
import { HyperError, isMissing, messageOf } from '../protocol/errors.ts'
import { isLoopback } from '../protocol/loopback.ts'
import { writePrivateFile } from '../protocol/private-file.ts'
import type { Environment } from './environment.ts'

const DEFAULT_ENDPOINT = 'http://127.0.0.1:7480'

export const contextsPath = (home: string): string => join(home, 'client.json')

const bad = (path: string, why: string): HyperError =>
  new HyperError('BAD_PARAMETER', `${path} ${why}`)

/** No file is no contexts. */
export const readContexts = async (home: string): Promise<ClientConfig> => {
  const path = contextsPath(home)
  const unreadable = (error: unknown): HyperError =>
    bad(path, `cannot be read: ${messageOf(error)}`)
  const found = await stat(path).catch((error: unknown) => {
    if (isMissing(error)) return null
    throw unreadable(error)
  })
  if (found === null) return NO_CONTEXTS
  if ((found.mode & 0o077) !== 0) {
    throw bad(path, `holds tokens and can be read by others; run \`chmod 600 ${path}\``)
  }
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(error)
  })
  return parseClientConfig(text, path)
}

export const writeContexts = (home: string, config: ClientConfig): Promise<void> =>
  writePrivateFile(contextsPath(home), printClientConfig(config))

export interface Target {
  readonly endpoint: string
  readonly token?: string
  readonly keys?: { readonly accessKey: string; readonly secretKey: string }
}

const isOfThisMachine = (endpoint: string): boolean =>
  isLoopback(new URL(parseEndpoint(endpoint)).hostname)

/** The chosen one; without a choice the coordinator's own, which it writes as `default`. */
const currentOf = ({ current, contexts }: ClientConfig): ClientContext | undefined =>
  contexts[current] ?? contexts.default

const tokenFor = (endpoint: string, contexts: ClientConfig): string | undefined => {
  const kept = currentOf(contexts)
  if (kept !== undefined && parseEndpoint(kept.endpoint) === endpoint) return kept.token
  const all = Object.values(contexts.contexts)
  const same = all.find((one) => parseEndpoint(one.endpoint) === endpoint)
  if (same !== undefined) return same.token
  return kept !== undefined && isOfThisMachine(kept.endpoint) && isOfThisMachine(endpoint)
    ? kept.token
    : undefined
}

/** Whether anything says which coordinator: else it is the default one of this machine. */
export const hasContext = async ({ home, endpoint }: Environment): Promise<boolean> =>
  endpoint !== undefined || currentOf(await readContexts(home)) !== undefined

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
