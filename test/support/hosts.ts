/**
 * Hosts as network namespaces: each has its own network card, address and name, and hangs by a cable
 * on one switch, a bridge in a namespace of its own. The test's own process is plugged in as well, so
 * that it reaches their gateways. Files, processes and engines' sockets are shared by all.
 *
 *   test ──┐            ┌── host a   198.18.N.2
 *          ├── switch ──┤
 *          │            └── host b   198.18.N.3
 *
 * No namespace has a name under /run: a process holds each, which ends at the end of file on its
 * STDIN, so with this process in whatever way that ends; and the kernel takes namespaces, cables and
 * addresses with the last process inside. `close()` does the same in order.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readlink, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { newHome } from './deployment.ts'
import { eventually } from './eventually.ts'
import { run } from './program.ts'

export interface Host {
  readonly name: string
  readonly address: string
  /** HYPER_HOME of what runs here. */
  readonly home: string
  /** Words before those of a command, which is then run here. */
  readonly inside: readonly string[]
  /** Runs a program of the machine here, to its end. */
  run(program: string, ...args: string[]): Promise<string>
  /** Pulls the cable: nothing comes or goes, and nobody is told. */
  cut(): Promise<void>
  heal(): Promise<void>
  /** Nobody can dial this host any more, and no answer says so: as behind a NAT. */
  refuseInbound(): Promise<void>
}

export interface Hosts {
  add(name: string): Promise<Host>
  close(): Promise<void>
}

interface Namespace {
  readonly pid: number
  readonly inside: readonly string[]
  release(): Promise<void>
}

const HOSTS_MAX = 250
/** On a cable of this machine an answer comes at once; below the kernel's first repetition of a SYN. */
const NO_ANSWER_MS = 500

const endOf = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}

const openNamespace = async (name: string): Promise<Namespace> => {
  const hold = 'echo "$0" >/proc/sys/kernel/hostname; echo held; exec cat'
  const child = spawn('unshare', ['--net', '--uts', 'sh', '-c', hold, name], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const { pid } = child
  if (pid === undefined) throw new Error('no namespace: unshare cannot be started')
  await Promise.race([
    once(child.stdout, 'data'),
    endOf(child).then(() => Promise.reject(new Error('no namespace: unshare has ended'))),
  ])
  return {
    pid,
    inside: ['nsenter', `--net=/proc/${pid}/ns/net`, `--uts=/proc/${pid}/ns/uts`],
    async release() {
      child.stdin.end()
      await endOf(child)
    },
  }
}

const runIn = async (
  { inside }: Pick<Namespace, 'inside'>,
  program: string,
  ...args: string[]
): Promise<string> => {
  const [enter = '', ...where] = inside
  return run(enter, [...where, program, ...args])
}

/** Lines of a shell, one process for all of them. */
const script = (where: Pick<Namespace, 'inside'>, ...lines: string[]): Promise<string> =>
  runIn(where, 'sh', '-ec', lines.join('\n'))

/** Of the networks that RFC 2544 keeps for tests, one that this machine has not. */
const freeNetwork = async (): Promise<string> => {
  const used = await run('ip', ['-4', '-o', 'addr'])
  return eventually(() => {
    const network = `198.${randomInt(18, 20)}.${randomInt(256)}`
    return used.includes(` ${network}.`) ? undefined : network
  })
}

const plugIn = async (own: string, network: string, where: Namespace): Promise<void> => {
  await run('ip', `link add ${own} type veth peer name test netns ${where.pid}`.split(' '))
  await run('ip', `addr add ${network}.1/24 dev ${own}`.split(' '))
  await run('ip', `link set ${own} up`.split(' '))
  await script(where, 'ip link set test master lan', 'ip link set test up')
}

/** What becomes of a connection that the test opens there: `connected`, `no answer`, or the error's code. */
export const dial = ({ address: host }: Pick<Host, 'address'>, port: number): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect({ host, port })
    const end = (how: string): void => {
      socket.destroy()
      resolve(how)
    }
    socket.setTimeout(NO_ANSWER_MS, () => end('no answer'))
    socket.once('connect', () => end('connected'))
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
  })

export const openHosts = async (): Promise<Hosts> => {
  const network = await freeNetwork()
  const own = `hyper-${randomBytes(4).toString('hex')}`
  const wiring = await openNamespace('switch')
  const held: Namespace[] = []
  const homes: string[] = []

  const close = async (): Promise<void> => {
    await Promise.all([...held, wiring].map((namespace) => namespace.release()))
    for (const home of homes) await rm(home, { recursive: true, force: true })
    // The kernel takes its time; a network that is still there could be taken for a free one.
    const isGone = (): Promise<boolean> =>
      readlink(`/sys/class/net/${own}`).then(
        () => false,
        () => true,
      )
    await eventually(isGone, undefined, () => `${own} is left`)
  }

  const addHost = async (name: string): Promise<Host> => {
    const namespace = await openNamespace(name)
    const number = held.push(namespace)
    if (number > HOSTS_MAX) throw new Error(`a test has ${HOSTS_MAX} hosts at the most`)
    const home = await newHome()
    homes.push(home)
    const address = `${network}.${number + 1}`
    const cable = `host-${number}`
    await script(
      wiring,
      `ip link add ${cable} type veth peer name eth0 netns ${namespace.pid}`,
      `ip link set ${cable} master lan`,
      `ip link set ${cable} up`,
    )
    await script(
      namespace,
      'ip link set lo up',
      `ip addr add ${address}/24 dev eth0`,
      'ip link set eth0 up',
    )
    return {
      ...{ name, address, home, inside: namespace.inside },
      run: (program, ...args) => runIn(namespace, program, ...args),
      cut: async () => void (await script(wiring, `ip link set ${cable} down`)),
      heal: async () => void (await script(wiring, `ip link set ${cable} up`)),
      refuseInbound: async () =>
        void (await script(namespace, 'iptables -A INPUT -i eth0 -p tcp --syn -j DROP')),
    }
  }

  try {
    await script(wiring, 'ip link add lan type bridge', 'ip link set lan up')
    await plugIn(own, network, wiring)
  } catch (error) {
    await wiring.release()
    throw error
  }
  return { add: addHost, close }
}
