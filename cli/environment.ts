/**
 * Every environment variable that `hyper` reads, read in one place. An empty variable counts as
 * absent. What a value means is checked where it is used: a wrong HYPER_LISTEN does not keep
 * `hyper func ls` from working.
 */

import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

export interface Environment {
  /** HYPER_HOME, `~/.hyper` */
  readonly home: string
  /** Whether HYPER_HOME says so: then it must stand before commands to copy. */
  readonly isHomeSet: boolean
  /** HYPER_ENDPOINT, or the original client's HYPER_FUNC_ENDPOINT */
  readonly endpoint: string | undefined
  readonly token: string | undefined
  /** HYPER_ACCESS and HYPER_SECRET, as the original client read them */
  readonly keys: { readonly accessKey: string; readonly secretKey: string } | undefined
  readonly listen: string | undefined
  readonly mesh: string | undefined
  readonly publicUrl: string | undefined
  readonly dockerHost: string | undefined
  /** Folder with hyper-init and hello, where they are not beside the compiled code. */
  readonly initDir: string | undefined
  readonly path: string
  /** For `-e NAME` without a value, as docker has it. */
  readonly variable: (name: string) => string | undefined
}

export const readEnvironment = (env: NodeJS.ProcessEnv): Environment => {
  const read = (name: string): string | undefined => {
    const value = env[name]
    return value === '' ? undefined : value
  }
  const accessKey = read('HYPER_ACCESS')
  const secretKey = read('HYPER_SECRET')
  const home = read('HYPER_HOME')
  return {
    home: resolve(home ?? join(homedir(), '.hyper')),
    isHomeSet: home !== undefined,
    endpoint: read('HYPER_ENDPOINT') ?? read('HYPER_FUNC_ENDPOINT'),
    token: read('HYPER_TOKEN'),
    keys: accessKey === undefined || secretKey === undefined ? undefined : { accessKey, secretKey },
    listen: read('HYPER_LISTEN'),
    mesh: read('HYPER_MESH'),
    publicUrl: read('HYPER_PUBLIC_URL'),
    dockerHost: read('DOCKER_HOST'),
    initDir: read('HYPER_INIT_DIR'),
    path: env.PATH ?? '',
    variable: (name) => env[name],
  }
}

/** The user's own credentials: a daemon has no use for them. */
const CREDENTIALS = ['HYPER_TOKEN', 'HYPER_ACCESS', 'HYPER_SECRET']

export const withoutCredentials = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !CREDENTIALS.includes(name)))
