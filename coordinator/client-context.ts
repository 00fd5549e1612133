/**
 * The default account's context for the CLI beside the coordinator: endpoint and token, in
 * `client.json` of the same HYPER_HOME, so that `hyper` works at once. Contexts that are there
 * already stay as they are, and so does the user's choice of the current one.
 */

import { readFile } from 'node:fs/promises'
import { NO_CONTEXTS, parseClientConfig, printClientConfig } from '../protocol/client-config.ts'
import { HyperError, isMissing, messageOf } from '../protocol/errors.ts'
import { writePrivateFile } from '../protocol/private-file.ts'

/** No file is no contexts; one that cannot be read is not written over. Throws BAD_PARAMETER. */
const readConfig = async (path: string) => {
  try {
    return parseClientConfig(await readFile(path, 'utf8'), path)
  } catch (error) {
    if (error instanceof HyperError) throw error
    if (isMissing(error)) return NO_CONTEXTS
    throw new HyperError('BAD_PARAMETER', `${path} cannot be read: ${messageOf(error)}`)
  }
}

export const writeClientContext = async (
  path: string,
  name: string,
  endpoint: string,
  token: string,
): Promise<void> => {
  const { current, contexts } = await readConfig(path)
  const config = {
    current: Object.keys(contexts).length === 0 ? name : current,
    contexts: { ...contexts, [name]: { endpoint, token } },
  }
  await writePrivateFile(path, printClientConfig(config))
}
