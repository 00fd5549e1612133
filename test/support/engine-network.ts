/**
 * The test engine's network namespace, as an agent on the same host would have it: its firewall,
 * and a small world beyond it, whose servers answer `yes`.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type FirewallHost, thisHost } from '../../agent/firewall.ts'
import { systemPath } from '../../cli/setup/engine-install.ts'
import { eventually } from './eventually.ts'
import { run } from './program.ts'

const NOWHERE = 'net:[0]'

/** The /proc path of the namespace that the engine behind this socket runs in. */
export const findNamespace = async (socketPath: string): Promise<string> => {
  const names = await readFile(join(dirname(socketPath), 'namespaces'), 'utf8')
  const [wanted = NOWHERE] = names.match(/\bnet:\[\d+\]/) ?? []
  for (const pid of await readdir('/proc')) {
    const path = `/proc/${pid}/ns/net`
    if ((await readlink(path).catch(() => '')) === wanted) return path
  }
  throw new Error(`no process is in ${wanted}`)
}

export interface EngineNetwork {
  /** For an agent's premises. */
  readonly firewall: FirewallHost
  /** Runs a program there. */
  run(program: string, ...args: string[]): Promise<string>
  /** Serves `yes` over HTTP there on this port of all addresses. */
  serve(port: number): Promise<void>
  /** Another machine on that network, with these addresses and a server on port 80 of each. */
  addMachine(addresses: readonly string[]): Promise<void>
  close(): Promise<void>
}

/** A program in a namespace, in the foreground of a test. */
const hold = (namespace: string, command: readonly string[]): ChildProcess => {
  const inside = ['setpriv', '--pdeathsig', 'KILL', ...command]
  const env = { ...process.env, PATH: systemPath() }
  return spawn('nsenter', [`--net=${namespace}`, ...inside], { stdio: 'ignore', env })
}

const OUTSIDE = '198.51.100.1'

export const openEngineNetwork = async (socketPath: string): Promise<EngineNetwork> => {
  const namespace = await findNamespace(socketPath)
  const www = await mkdtemp(join(tmpdir(), 'www-'))
  await writeFile(join(www, 'index.html'), 'yes\n')
  const held: ChildProcess[] = []
  const runIn = (where: string, ...command: string[]): Promise<string> =>
    run('nsenter', [`--net=${where}`, ...command])
  const serveIn = async (where: string, port: number): Promise<void> => {
    held.push(hold(where, ['busybox', 'httpd', '-f', '-p', `${port}`, '-h', www]))
    const url = `http://127.0.0.1:${port}/`
    const isServing = (): Promise<boolean> =>
      runIn(where, 'busybox', 'wget', '-q', '-O', '-', url).then(
        (text) => text === 'yes\n',
        () => false,
      )
    await eventually(isServing)
  }

  return {
    firewall: {
      namespace,
      interfaces: () => runIn(namespace, 'cat', '/proc/self/net/dev'),
      run: (program, args, input) => {
        const inside = [`--net=${namespace}`, program, ...args]
        return thisHost.run('nsenter' as typeof program, inside, input)
      },
    },
    run: (program, ...args) => runIn(namespace, program, ...args),
    serve: (port) => serveIn(namespace, port),
    async addMachine(addresses) {
      const machine = hold(namespace, ['unshare', '--net', 'sleep', '600'])
      held.push(machine)
      assert.ok(machine.pid !== undefined)
      const there = `/proc/${machine.pid}/ns/net`
      const before = await readlink(namespace)
      await eventually(async () => {
        const now = await readlink(there).catch(() => before)
        return now !== before && now !== (await readlink('/proc/self/ns/net'))
      })
      const ip = (where: string, line: string): Promise<string> =>
        runIn(where, 'ip', ...line.split(' '))
      await ip(namespace, `link add outside type veth peer name eth0 netns ${machine.pid}`)
      await ip(namespace, `addr add ${OUTSIDE}/24 dev outside`)
      await ip(namespace, 'link set outside up')
      await ip(there, 'link set lo up')
      await ip(there, 'link set eth0 up')
      for (const address of addresses) await ip(there, `addr add ${address}/32 dev eth0`)
      await ip(there, `route add ${OUTSIDE} dev eth0`)
      await ip(there, `route add default via ${OUTSIDE}`)
      for (const address of addresses) {
        await ip(namespace, `route add ${address} dev outside`)
      }
      await serveIn(there, 80)
    },
    async close() {
      for (const child of held) {
        child.kill('SIGKILL')
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      }
      await rm(www, { recursive: true, force: true })
    },
  }
}
