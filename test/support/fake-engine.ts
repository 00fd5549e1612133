/**
 * A Docker engine that says who it is, on a socket of its own, and whose pulls begin and never end;
 * a test changes what it says.
 */

import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface FakeEngine {
  readonly dockerHost: string
  /** Null: it refuses to answer. */
  say(facts: { readonly NCPU: number; readonly Runtimes: object } | null): void
  /** Pulls that it still performs for somebody. */
  pulls(): number
  close(): Promise<void>
}

const GiB = 2 ** 30

export const startFakeEngine = async (): Promise<FakeEngine> => {
  const dir = await mkdtemp(join(tmpdir(), 'engine-'))
  const path = join(dir, 'engine.sock')
  let facts: { readonly NCPU: number; readonly Runtimes: object } | null = {
    ...{ NCPU: 2, Runtimes: { runc: {} } },
  }
  let pulls = 0
  const server = createServer((request, response) => {
    if (request.url?.includes('/images/create') === true) {
      pulls += 1
      response.on('close', () => {
        pulls -= 1
      })
      response.write('{"status":"Waiting"}\n')
      return
    }
    response.setHeader('content-type', 'application/json')
    if (facts === null) response.statusCode = 503
    const isVersion = request.url?.endsWith('/version') === true
    const answer = isVersion
      ? { Version: '20.10', ApiVersion: '1.41' }
      : { ...facts, MemTotal: GiB, OSType: 'linux', Architecture: 'x86_64', DockerRootDir: dir }
    response.end(JSON.stringify(facts === null ? { message: 'starting' } : answer))
  })
  server.listen({ path })
  await once(server, 'listening')
  return {
    dockerHost: `unix://${path}`,
    say: (next) => {
      facts = next
    },
    pulls: () => pulls,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
      await rm(dir, { recursive: true, force: true })
    },
  }
}
