/**
 * A coordinator and its agents, each on a host of its own (hosts.ts), all on the test engine. The
 * gateway listens on its host's card, so that the test's own process reaches it. `close()` stops
 * what still runs, as Ctrl-C does, and fails if a container is left.
 */

import assert from 'node:assert/strict'
import {
  type CommandResult,
  type Context,
  containersOf,
  keepersOf,
  readContext,
  runHyper,
} from './deployment.ts'
import { eventually } from './eventually.ts'
import { api } from './functions.ts'
import { type HostDaemon, startOn } from './host-daemon.ts'
import { type Host, openHosts } from './hosts.ts'

const GATEWAY_PORT = 7480
export const MESH_PORT = 7481
const GONE_MS = 30_000
/** What a daemon of an agent says with its peer id. */
export const READY = /The agent is ready \((\w+)\)/

interface AgentRow {
  readonly agent: string
  readonly peerId: string
  readonly state: string
  readonly reason?: string
  readonly running: number
  readonly slots: number
  readonly ready: number
}

export interface MeshAgent extends HostDaemon {
  readonly peerId: string
}

export interface HostMesh {
  readonly coordinator: Host
  /** From the first start on. */
  readonly context: Context
  addHost(name: string): Promise<Host>
  hyper(...args: string[]): Promise<CommandResult>
  invite(...args: string[]): Promise<string>
  /** `hyper agent ARGS` (with a ticket in them, or where it is a member already), until it says that it is ready. */
  agent(host: Host, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<MeshAgent>
  /** Another daemon command, such as `join`; it is stopped with the rest. */
  start(host: Host, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<HostDaemon>
  list(): Promise<readonly AgentRow[]>
  row(agent: Pick<MeshAgent, 'peerId'>): Promise<AgentRow | undefined>
  killCoordinator(): Promise<void>
  /** Starts it again where it was; resolves when its process runs. */
  startCoordinator(): Promise<HostDaemon>
  close(): Promise<void>
}

/** `args` and `env` are the coordinator's. */
export const openHostMesh = async (
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<HostMesh> => {
  const hosts = await openHosts()
  const daemons: HostDaemon[] = []

  const close = async (): Promise<void> => {
    const [coordinator, ...agents] = daemons.toSorted(
      (one, other) => Number(other.host === first) - Number(one.host === first),
    )
    try {
      await Promise.all(agents.map((agent) => agent.stop()))
      await coordinator?.stop()
      const homes = new Set(daemons.map(({ host }) => host.home))
      for (const home of homes) {
        const isGone = async (): Promise<boolean> => (await keepersOf(home)).length === 0
        await eventually(isGone, GONE_MS, () => `keepers are left in ${home}`)
      }
    } finally {
      await hosts.close()
    }
    const peers = daemons.flatMap(({ output }) => READY.exec(output())?.[1] ?? [])
    assert.deepEqual(await containersOf(peers), [], 'containers are left')
  }

  const first = await hosts.add('coordinator')
  const listen = ['--listen', `0.0.0.0:${GATEWAY_PORT}`, '--insecure']
  let running: HostDaemon | undefined
  const startCoordinator = async (): Promise<HostDaemon> => {
    const at = running === undefined ? -1 : daemons.indexOf(running)
    running = await startOn(first, ['coordinator', ...listen, ...args], env)
    if (at === -1) daemons.push(running)
    else daemons[at] = running
    return running
  }
  let context: Context
  try {
    const coordinator = await startCoordinator()
    await coordinator.said(/(The coordinator is ready)/)
    const { token } = await readContext(first.home)
    context = { token, endpoint: `http://${first.address}:${GATEWAY_PORT}` }
  } catch (error) {
    await close()
    throw error
  }
  const hyper: HostMesh['hyper'] = (...words) => runHyper(words, first)
  const list = async (): Promise<readonly AgentRow[]> =>
    (await (await api(context, 'GET', '/agents')).json()) as AgentRow[]
  const start: HostMesh['start'] = async (host, words, env) => {
    const daemon = await startOn(host, words, env)
    daemons.push(daemon)
    return daemon
  }
  return {
    ...{ coordinator: first, context, addHost: hosts.add, hyper, list, start, startCoordinator },
    async invite(...words) {
      const { stdout, stderr } = await hyper('--quiet', 'invite', ...words)
      const ticket = stdout.toString().trim()
      assert.notEqual(ticket, '', stderr)
      return ticket
    },
    async agent(host, words, env) {
      const daemon = await start(host, ['agent', ...words], env)
      return { ...daemon, peerId: await daemon.said(READY) }
    },
    row: async ({ peerId }) => (await list()).find((row) => row.peerId === peerId),
    async killCoordinator() {
      await running?.kill()
    },
    close,
  }
}
