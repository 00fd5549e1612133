/**
 * A whole coordinator as a process of its own on loopback: what it logs can be read, and what holds it
 * up, fills its memory or ends it does so to it alone.
 */

import { type ChildProcess, fork } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { PrivateKey } from '@libp2p/interface'
import { type Client, createClient } from '../../client/client.ts'
import { parseClientConfig } from '../../protocol/client-config.ts'
import { parseDaemonReport } from '../../protocol/daemon.ts'
import { enrol } from '../../protocol/mesh/enrolment.ts'
import { decodeTicket } from '../../protocol/mesh/ticket.ts'
import { configFor } from './coordinator.ts'
import { ended } from './deployment.ts'
import { newKey, quiet } from './mesh.ts'

const MAIN = new URL('../../coordinator/main.ts', import.meta.url).pathname

export interface LogRow {
  readonly msg: string
  readonly peer?: string
  readonly code?: string
  readonly reason?: string
  readonly keptOffMs?: number
  readonly strikes?: number
  readonly address?: string
}

export interface CoordinatorProcess {
  readonly client: Client
  readonly url: string
  readonly peerId: string
  readonly mesh: readonly string[]
  readonly logged: readonly LogRow[]
  readonly isAlive: () => boolean
  /** Resident memory, in bytes. */
  readonly memory: () => Promise<number>
  /** A key that is on its list. */
  readonly enrol: () => Promise<PrivateKey>
  readonly stop: () => Promise<void>
}

const readyOf = (child: ChildProcess): Promise<{ url: string; peerId: string; mesh: string[] }> =>
  new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the coordinator ended with ${code}`)))
    child.on('message', (message) => {
      const report = parseDaemonReport(message)
      if (report.type === 'ready') resolve(report)
      if (report.type === 'failed') reject(new Error(report.message))
    })
  })

export const startCoordinatorProcess = async (
  logLevel: 'info' | 'trace' = 'info',
): Promise<CoordinatorProcess> => {
  const folder = await mkdtemp(join(tmpdir(), 'besieged-'))
  const config = configFor(folder)
  const child = fork(MAIN, {
    env: { ...process.env, HYPER_LOG_LEVEL: logLevel },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const logged: LogRow[] = []
  if (child.stderr === null) throw new Error('no stderr')
  createInterface(child.stderr).on('line', (line) => {
    logged.push(line.startsWith('{') ? JSON.parse(line) : { msg: line })
  })
  const ready = readyOf(child)
  child.send({ type: 'configure', config })
  const { url, peerId, mesh } = await ready
  const path = config.clientConfigPath
  const { token = '' } =
    parseClientConfig(await readFile(path, 'utf8'), path).contexts.default ?? {}
  const client = createClient({ endpoint: url, token })
  return {
    ...{ client, url, peerId, mesh, logged },
    isAlive: () => child.exitCode === null && child.signalCode === null,
    async memory() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8')
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
    },
    async enrol() {
      const key = await newKey()
      const { ticket } = await client.invite({ uses: 1, expiresMs: 60_000 })
      await enrol({ ticket: decodeTicket(ticket), key, log: quiet })
      return key
    },
    async stop() {
      child.kill('SIGTERM')
      await ended(child)
      await rm(folder, { recursive: true, force: true })
    },
  }
}
