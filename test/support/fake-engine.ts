/**
 * A Docker engine that says who it is, on a socket of its own, and whose pulls begin and never end;
 * a test changes what it says. It knows no networks.
 */

import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { lowerVersion } from '../../agent/engine.ts'

interface Facts {
  readonly NCPU: number
  readonly Runtimes: object
  readonly [field: string]: unknown
}

export interface FakeVersion {
  readonly Version: string
  readonly ApiVersion: string
  readonly MinAPIVersion?: string
  readonly Components?: readonly { readonly Name: string }[]
}

export interface FakeEngine {
  readonly dockerHost: string
  /** Null: it refuses to answer. */
  say(facts: Facts | null): void
  /** Pulls that it still performs for somebody. */
  pulls(): number
  /** What it was asked, versions of the API included. */
  readonly asked: readonly string[]
  close(): Promise<void>
}

const GiB = 2 ** 30

export const startFakeEngine = async (
  of: {
    readonly version?: FakeVersion
    /** What it answers about any image. */
    readonly image?: object
  } = {},
): Promise<FakeEngine> => {
  const { version = { Version: '20.10', ApiVersion: '1.41' }, image = {} } = of
  const oldest = version.MinAPIVersion ?? '1.12'
  const dir = await mkdtemp(join(tmpdir(), 'engine-'))
  const path = join(dir, 'engine.sock')
  let facts: Facts | null = { NCPU: 2, Runtimes: { runc: {} } }
  let pulls = 0
  const asked: string[] = []

  const answerTo = (url: string): object => {
    if (url.endsWith('/version')) return version
    if (url.includes('/networks')) return []
    if (url.includes('/images/json')) return []
    if (url.includes('/images/')) return image
    return { ...facts, MemTotal: GiB, OSType: 'linux', Architecture: 'x86_64', DockerRootDir: dir }
  }
  const server = createServer((request, response) => {
    const { url = '' } = request
    asked.push(url)
    const [, client = oldest] = /^\/v([\d.]+)\//.exec(url) ?? []
    response.setHeader('content-type', 'application/json')
    if (client !== oldest && lowerVersion(client, oldest) === client) {
      response.statusCode = 400
      const message = `client version ${client} is too old. Minimum supported API version is ${oldest}`
      response.end(JSON.stringify({ message }))
      return
    }
    if (url.includes('/images/create')) {
      pulls += 1
      response.on('close', () => {
        pulls -= 1
      })
      response.write('{"status":"Waiting"}\n')
      return
    }
    if (facts === null) response.statusCode = 503
    response.end(JSON.stringify(facts === null ? { message: 'starting' } : answerTo(url)))
  })
  server.listen({ path })
  await once(server, 'listening')
  return {
    dockerHost: `unix://${path}`,
    say: (next) => {
      facts = next
    },
    pulls: () => pulls,
    asked,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
      await rm(dir, { recursive: true, force: true })
    },
  }
}
