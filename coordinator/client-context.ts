/**
 * The default account's context for the CLI beside the coordinator: endpoint and token, in
 * `client.json` of the same HYPER_HOME, so that `hyper` works at once. Contexts that are there
 * already stay as they are, and so does the user's choice of the current one.
 */

import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import Type from 'typebox'
import { createParser } from '../protocol/schema.ts'

const parseClientConfig = createParser(
  Type.Object({
    current: Type.String(),
    contexts: Type.Record(
      Type.String(),
      Type.Object({ endpoint: Type.String(), token: Type.String() }),
    ),
  }),
  'BAD_PARAMETER',
  'client.json',
)

/** Written whole or not at all; readable by its owner only. */
export const writePrivateFile = async (path: string, text: string): Promise<void> => {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = `${path}.${process.pid}.new`
  const handle = await open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, path)
}

export const writeClientContext = async (
  path: string,
  name: string,
  endpoint: string,
  token: string,
): Promise<void> => {
  const text = await readFile(path, 'utf8').catch(() => null)
  const former =
    text === null ? { current: name, contexts: {} } : parseClientConfig(JSON.parse(text))
  const config = {
    current: former.current,
    contexts: { ...former.contexts, [name]: { endpoint, token } },
  }
  await writePrivateFile(path, `${JSON.stringify(config, null, 2)}\n`)
}
