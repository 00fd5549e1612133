/**
 * A container's way onto the bridge of networked functions (bridge.ts), made between its start and its
 * call: a pair of interfaces, of which one becomes its `eth0`. It goes with the container's namespace,
 * so nothing is to be taken away. The engine gives out the lower half of the bridge's addresses, we
 * those of the upper half: an interface on the host bears the number of its address in its name, and
 * the kernel lets a name be there once, whoever takes it.
 */

import { randomInt } from 'node:crypto'
import type { FirewallHost } from '../../firewall.ts'

/** What networked containers of the OCI runner are connected to. */
export interface Link {
  /** The bridge's interface on the host. */
  readonly bridge: string
  readonly gateway: string
  readonly range: AddressRange
}

/** IPv4 addresses as numbers. */
export interface AddressRange {
  readonly first: number
  readonly count: number
  /** Of the whole network. */
  readonly prefix: number
}

const BITS = 32
/** Smaller networks are not shared. */
const PREFIX_MAX = 24
const TRIES = 16
const NAME_PREFIX = 'hyp'
const TAKEN = /File exists/

const numberOf = (address: string): number =>
  address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)

export const addressOf = (number: number): string =>
  [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join('.')

const SUBNET = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/

/** The half of a subnet (`172.18.0.0/16`) that the engine is told to give out. Null: too small. Pure. */
export const engineRangeOf = (subnet: string): string | null => {
  const [, base = '', prefix = ''] = SUBNET.exec(subnet) ?? []
  if (base === '' || Number(prefix) > PREFIX_MAX) return null
  return `${base}/${Number(prefix) + 1}`
}

/** The other half, without the broadcast address. Pure. */
export const ownRangeOf = (subnet: string): AddressRange | null => {
  const [, base = '', text = ''] = SUBNET.exec(subnet) ?? []
  const prefix = Number(text)
  if (base === '' || prefix > PREFIX_MAX) return null
  const half = 2 ** (BITS - prefix - 1)
  return { first: numberOf(base) + half, count: half - 1, prefix }
}

const words = (lines: readonly string[]): string => `${lines.join('\n')}\n`

const must = async (
  host: FirewallHost,
  program: 'ip' | 'nsenter',
  args: readonly string[],
  lines: readonly string[],
): Promise<void> => {
  const { status, output } = await host.run(program, args, words(lines))
  if (status !== 0) throw new Error(`the container’s network: ${output.trim().split('\n')[0]}`)
}

/** The host's end; `number` of its address within the range. */
const addPair = (host: FirewallHost, { bridge }: Link, number: number, pid: number) => {
  const name = `${NAME_PREFIX}${bridge.slice(-8, -4)}-${number.toString(36)}`
  return must(
    host,
    'ip',
    ['-batch', '-'],
    [
      `link add ${name} type veth peer name eth0 netns ${pid}`,
      `link set ${name} master ${bridge}`,
      `link set ${name} type bridge_slave isolated on`,
      `link set ${name} up`,
    ],
  )
}

/** `pid`: PID 1 of a container whose process has not begun. Resolves with its address. */
export const connect = async (host: FirewallHost, link: Link, pid: number): Promise<string> => {
  const { first, count, prefix } = link.range
  for (let tries = 1; ; tries += 1) {
    const number = randomInt(count)
    try {
      await addPair(host, link, number, pid)
    } catch (error) {
      if (tries < TRIES && error instanceof Error && TAKEN.test(error.message)) continue
      throw error
    }
    const address = addressOf(first + number)
    await must(
      host,
      'nsenter',
      [`--net=/proc/${pid}/ns/net`, 'ip', '-batch', '-'],
      [
        `address add ${address}/${prefix} brd + dev eth0`,
        'link set lo up',
        'link set eth0 up',
        `route add default via ${link.gateway}`,
      ],
    )
    return address
  }
}
