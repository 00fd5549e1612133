/**
 * Credentials for an image's registry, from where `docker login` keeps them (`config.json` of
 * DOCKER_CONFIG or `~/.docker`), as the value of X-Registry-Auth. Only those written in the file:
 * helpers that keep them elsewhere are not asked.
 */

import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createReader } from '../client/shape.ts'
import { HUB, registryOf } from '../protocol/image.ts'
import type { Environment } from './environment.ts'

/** As docker's file names Docker Hub. */
const HUB_ADDRESS = 'https://index.docker.io/v1/'

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

export const readRegistryAuth = async (
  image: string,
  environment: Environment,
): Promise<string | undefined> => {
  const folder = environment.variable('DOCKER_CONFIG') ?? join(homedir(), '.docker')
  const registry = registryOf(image)
  const serveraddress = registry === HUB ? HUB_ADDRESS : registry
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
