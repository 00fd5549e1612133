/**
 * The image registry beside a test engine: Debian's docker-registry, inside the engine's network
 * namespace, with its files in the engine's folder. It stands in for Docker Hub (the engine has it
 * as a mirror), so that tests pull images by their real names without any network. A second one on
 * the next port has the same images, for who has a password.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export const REGISTRY_PORT_DEFAULT = 5000

/** Where the images of an engine's registry are. */
export const registryFilesOf = (engineDir: string): string => join(engineDir, 'registry')

export const REGISTRY_LOGIN = { username: 'reader', password: 'open sesame' } as const
/** The password's bcrypt, the only form that docker-registry reads. */
const HTPASSWD = 'reader:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n'

/** Writes the configurations that the engine's start-up script gives to docker-registry. */
export const writeRegistryConfig = async (deps: {
  readonly dir: string
  readonly port: number
}): Promise<void> => {
  const configAt = (port: number) => ({
    version: 0.1,
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: registryFilesOf(deps.dir) },
      delete: { enabled: true },
    },
    http: { addr: `127.0.0.1:${port}` },
  })
  const path = join(deps.dir, 'htpasswd')
  await writeFile(path, HTPASSWD)
  const auth = { htpasswd: { realm: 'test', path } }
  const closed = { ...configAt(deps.port + 1), auth }
  // JSON is YAML, which the registry reads.
  await writeFile(join(deps.dir, 'registry.json'), JSON.stringify(configAt(deps.port)))
  await writeFile(join(deps.dir, 'registry-closed.json'), JSON.stringify(closed))
}
