/**
 * The image registry beside a test engine: Debian's docker-registry, inside the engine's network
 * namespace, with its files in the engine's folder. It stands in for Docker Hub (the engine has it
 * as a mirror), so that tests pull images by their real names without any network.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export const REGISTRY_PORT_DEFAULT = 5000

/** Writes the configuration that the engine's start-up script gives to docker-registry. */
export const writeRegistryConfig = async (deps: {
  readonly dir: string
  readonly port: number
}): Promise<void> => {
  const config = {
    version: 0.1,
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: join(deps.dir, 'registry') },
      delete: { enabled: true },
    },
    http: { addr: `127.0.0.1:${deps.port}` },
  }
  // JSON is YAML, which the registry reads.
  await writeFile(join(deps.dir, 'registry.json'), JSON.stringify(config))
}
