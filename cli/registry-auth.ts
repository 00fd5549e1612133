/**
 * Credentials for an image's registry, from where `docker login` keeps them (`config.json` of
 * DOCKER_CONFIG or `~/.docker`), as the value of X-Registry-Auth. Only those written in the file:
 * helpers that keep them elsewhere are not asked.
 */

import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createReader } from '../client/shape.ts'
import type { Environment } from './environment.ts'

const HUB = 'https://index.docker.io/v1/'

const readConfig = createReader(
  {
    type: 'object',
    properties: {
      auths: {
        type: 'object',
        additionalProperties: { type: 'object', properties: { auth: { type: 'string' } } },
      },
    },
  },
  'docker configuration',
)

/** As docker tells hosts from names: by a dot, a port, or `localhost`. */
const registryOf = (image: string): string => {
  const [first = '', ...rest] = image.split('/')
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost')
  return isHost ? first : HUB
}

export const readRegistryAuth = async (
  image: string,
  environment: Environment,
): Promise<string | undefined> => {
  const folder = environment.variable('DOCKER_CONFIG') ?? join(homedir(), '.docker')
  const serveraddress = registryOf(image)
  try {
    const { auths = {} } = readConfig(
      JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')),
    )
    const kept = auths[serveraddress] ?? auths[`https://${serveraddress}`]
    const [username = '', ...password] = Buffer.from(kept?.auth ?? '', 'base64')
      .toString('utf8')
      .split(':')
    if (username === '') return undefined
    const told = JSON.stringify({ username, password: password.join(':'), serveraddress })
    return Buffer.from(told).toString('base64url')
  } catch {
    // Without a file that can be read there are no credentials: most images need none.
    return undefined
  }
}
