/**
 * A Docker engine of the tests' own: dockerd, containerd and a registry in network, PID and mount
 * namespaces of their own, with all their files in one folder and all their containers in one
 * cgroup. Nothing of a user's engine is touched or seen. It is gone after `stop()`, and also after
 * the death of the test runner (see guard.ts). There is no way out of its network.
 * States: starting → answering → stopped; `startTestEngine` resolves at answering.
 */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { access, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { commandNeed, type Need } from '../../cli/setup/engine-install.ts'
import { eventually } from './eventually.ts'
import { type Guard, startGuard } from './guard.ts'
import { waitForNoLeftovers } from './leftovers.ts'
import { REGISTRY_PORT_DEFAULT, writeRegistryConfig } from './registry.ts'

const START_MS = 30_000
const GONE_MS = 10_000
/** The kernel's bound for the path of a unix socket, less the longest name we put under the folder. */
const DIR_CHARS_MAX = 70
const LOG_LINES_SHOWN = 20

/** Runtimes beside runc, as in daemon.json. */
export type ExtraRuntimes = Readonly<
  Record<string, { readonly path: string; readonly runtimeArgs?: readonly string[] }>
>

/** gVisor, for those suites that run under it. */
export const RUNTIME_NEEDS: readonly Need[] = [commandNeed('runsc', 'runsc')]

export type TestEngine = {
  readonly socketPath: string
  /** For DOCKER_HOST. */
  readonly dockerHost: string
  /** The registry as the engine reaches it; it cannot be reached from outside. */
  readonly registryUrl: string
  readonly closedRegistryUrl: string
  /** Ends dockerd alone, which is then started again. Resolves once it has ended. */
  readonly endDaemon: (signal: NodeJS.Signals) => Promise<void>
  /** Removes everything; throws if anything is left. Can be called again. */
  readonly stop: () => Promise<void>
}

/** Starts an engine; `dir` must not exist, and belongs to the engine from now on. */
export const startTestEngine = async (deps: {
  readonly dir: string
  readonly registryPort?: number
  readonly runtimes?: ExtraRuntimes
  /** Where its images and containers lie; in `dir` unless told otherwise. */
  readonly dataRoot?: string
  /** Containers outlive dockerd. */
  readonly liveRestore?: boolean
}): Promise<TestEngine> => {
  const { dir, registryPort = REGISTRY_PORT_DEFAULT, runtimes = {}, liveRestore = false } = deps
  const { dataRoot = join(dir, 'data') } = deps
  if (dir.length > DIR_CHARS_MAX) throw new Error(`too long for unix sockets: ${dir}`)
  const cgroup = `hyper-test-${randomBytes(6).toString('hex')}`
  const registryUrl = `http://127.0.0.1:${registryPort}`
  const closedRegistryUrl = `http://127.0.0.1:${registryPort + 1}`
  await mkdir(dir, { mode: 0o711 })
  await writeRegistryConfig({ dir, port: registryPort })
  await writeEngineConfig({ dir, cgroup, registryUrl, runtimes, dataRoot, liveRestore })

  const boot = fileURLToPath(new URL('engine-boot.sh', import.meta.url))
  const guard = await startGuard({
    dir,
    cgroup,
    logPath: join(dir, 'guard.log'),
    command: [
      // Should the guard itself be killed, the engine goes with it.
      ...['setpriv', '--pdeathsig', 'KILL'],
      ...['unshare', '--net', '--pid', '--fork', '--kill-child', '--mount', '--mount-proc'],
      ...['sh', boot, dir, String(registryPort)],
    ],
  })
  let namespaces: readonly string[] = []
  const stop = async (): Promise<void> => {
    await guard.release()
    const left = await waitForNoLeftovers({ dir, cgroup, namespaces }, GONE_MS)
    if (left.length > 0) throw new Error(`the test engine left behind:\n${left.join('\n')}`)
  }
  const socketPath = join(dir, 'docker.sock')
  try {
    await waitUntilAnswering(dir, socketPath, guard)
    namespaces = await readNamespaces(dir)
  } catch (error) {
    const tails = await readLogTails(dir)
    await stop()
    throw new Error(`the test engine did not start\n${tails}`, { cause: error })
  }
  const endDaemon = async (signal: NodeJS.Signals): Promise<void> => {
    const pid = await daemonOf(dir)
    assert.ok(pid !== null, 'dockerd does not run')
    process.kill(pid, signal)
    await eventually(async () => (await daemonOf(dir)) !== pid, START_MS)
  }
  const dockerHost = `unix://${socketPath}`
  return { socketPath, dockerHost, registryUrl, closedRegistryUrl, endDaemon, stop }
}

/** The process of its dockerd, by the file that only that one is told. */
const daemonOf = async (dir: string): Promise<number | null> => {
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')
    if (command === `dockerd\0--config-file\0${join(dir, 'dockerd.json')}\0`) return Number(name)
  }
  return null
}

/** Everything is said in files of ours: the machine's /etc/docker and /etc/containerd are not read. */
const writeEngineConfig = async (deps: {
  readonly dir: string
  readonly cgroup: string
  readonly registryUrl: string
  readonly runtimes: ExtraRuntimes
  readonly dataRoot: string
  readonly liveRestore: boolean
}): Promise<void> => {
  const { dir, cgroup, registryUrl, runtimes, dataRoot, liveRestore } = deps
  const containerdSocket = join(dir, 'containerd.sock')
  const containerd = [
    'version = 2',
    `root = "${join(dir, 'containerd')}"`,
    `state = "${join(dir, 'containerd-state')}"`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    '[grpc]',
    `  address = "${containerdSocket}"`,
  ]
  const dockerd = {
    'data-root': dataRoot,
    'exec-root': join(dir, 'exec'),
    pidfile: join(dir, 'dockerd.pid'),
    hosts: [`unix://${join(dir, 'docker.sock')}`],
    containerd: containerdSocket,
    'cgroup-parent': `/${cgroup}`,
    // systemd, where it runs, knows nothing of the processes in our namespaces.
    'exec-opts': ['native.cgroupdriver=cgroupfs'],
    'registry-mirrors': [registryUrl],
    runtimes,
    'live-restore': liveRestore,
  }
  await writeFile(join(dir, 'containerd.toml'), `${containerd.join('\n')}\n`)
  await writeFile(join(dir, 'dockerd.json'), JSON.stringify(dockerd))
}

const isAnswering = (socketPath: string): Promise<boolean> =>
  new Promise((resolve) => {
    const asked = request({ socketPath, path: '/_ping', timeout: START_MS }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    asked.on('timeout', () => asked.destroy())
    asked.on('error', () => resolve(false))
    asked.end()
  })

const waitUntilAnswering = async (dir: string, socketPath: string, guard: Guard): Promise<void> => {
  const isReady = async (): Promise<boolean> => {
    const isRegistryReady = await access(join(dir, 'registry-ready')).then(
      () => true,
      () => false,
    )
    if (isRegistryReady && (await isAnswering(socketPath))) return true
    if (guard.hasEnded()) throw new Error('its first process ended')
    return false
  }
  await eventually(isReady, START_MS, () => `it did not answer in ${START_MS / 1000} s`)
}

/** The kernel's names of the three namespaces, as the first process in them wrote them down. */
const readNamespaces = async (dir: string): Promise<readonly string[]> => {
  const listing = await readFile(join(dir, 'namespaces'), 'utf8')
  return listing.match(/\b(?:pid|net|mnt):\[\d+\]/g) ?? []
}

const readLogTails = async (dir: string): Promise<string> => {
  const tails: string[] = []
  for (const name of ['guard', 'registry', 'containerd', 'dockerd']) {
    const text = await readFile(join(dir, `${name}.log`), 'utf8').catch(() => '(no log)')
    tails.push(`── ${name}.log\n${text.trimEnd().split('\n').slice(-LOG_LINES_SHOWN).join('\n')}`)
  }
  return tails.join('\n')
}
