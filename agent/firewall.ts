/**
 * The rules around the bridge of function containers, in a chain of our own: a container reaches
 * neither this host's own ports, nor the addresses at which clouds tell secrets to their machines,
 * nor its neighbours. Names (port 53) are still resolved wherever the host has its resolver.
 *
 *   INPUT, DOCKER-USER ── from the bridge ──► HYPER-xxxxxxxx ── not refused ──► as before
 *
 * DOCKER-USER is the engine's chain for others' rules, which it never rewrites. Setting is
 * idempotent: the chain is filled anew in one step, the jumps into it are made where they are
 * missing. It needs root, and an engine whose network is this host's.
 */

import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'

/** What it takes of the host; a test looks into another network namespace. */
export interface FirewallHost {
  /** Its network namespace, as a path. */
  readonly namespace: string
  /** The text of /proc/net/dev. */
  interfaces(): Promise<string>
  /** Runs a program to its end. Rejects where there is none, or where it does not end. */
  run(
    program: 'iptables' | 'iptables-restore',
    args: readonly string[],
    input: string,
  ): Promise<{ readonly status: number; readonly output: string }>
}

/** AWS, Azure, Google and most others; Alibaba; Azure's host. */
const METADATA = ['169.254.0.0/16', '100.100.100.200/32', '168.63.129.16/32']
const JUMPS_FROM = ['DOCKER-USER', 'INPUT']
/** Other programs hold the lock of iptables for moments. */
const WAIT = ['-w', '5']
/** A user's PATH often leaves them out. */
const SYSTEM_PATH = '/usr/local/sbin:/usr/sbin:/sbin'

const PREFIX = 'hyper-'
const BRIDGE = /^hyper-[0-9a-f]{8}$/

/** Bridges are told apart by number: two engines' bridges on one host never share a name. */
export const bridgeNameOf = (number: string): string => `${PREFIX}${number}`
export const isBridgeName = (name: string): boolean => BRIDGE.test(name)

const chainOf = (bridge: string): string => `HYPER-${bridge.slice(PREFIX.length)}`

/** The chain's content, for `iptables-restore --noflush`. Pure. */
const rulesOf = (bridge: string): string => {
  const add = `-A ${chainOf(bridge)}`
  const lines = [
    '*filter',
    `:${chainOf(bridge)} - [0:0]`,
    // The neighbours first: their ports 53 are no resolvers.
    `${add} -o ${bridge} -j DROP`,
    // Answers: who on the host asks a container may hear it.
    `${add} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN`,
    `${add} -p udp --dport 53 -j RETURN`,
    `${add} -p tcp --dport 53 -j RETURN`,
    ...METADATA.map((range) => `${add} -d ${range} -j REJECT`),
    `${add} -m addrtype --dst-type LOCAL -j REJECT`,
    `${add} -m addrtype --dst-type BROADCAST -j DROP`,
    `${add} -m addrtype --dst-type MULTICAST -j DROP`,
    'COMMIT',
  ]
  return `${lines.join('\n')}\n`
}

const NOT_HERE =
  'the engine’s network is not this host’s (it is rootless, or in a virtual machine, or this is in a container)'

const unsettable = (why: string, cause?: unknown): HyperError =>
  new HyperError('ENGINE_UNSUITABLE', why, { cause })

const hasInterface = (listing: string, name: string): boolean =>
  listing.split('\n').some((line) => line.trim().startsWith(`${name}:`))

const must = async (host: FirewallHost, ...call: Parameters<FirewallHost['run']>) => {
  const [program] = call
  const { status, output } = await host.run(...call).catch((error: unknown) => {
    throw unsettable(`${program} could not be run (${messageOf(error)}): install iptables`, error)
  })
  const [words = ''] = output.trim().split('\n')
  if (status !== 0)
    throw unsettable(
      `${program} ended with ${status}: ${words.slice(0, limits.engineQuoteCharsMax)}`,
    )
}

const jumpTo = (bridge: string): readonly string[] => ['-i', bridge, '-j', chainOf(bridge)]

/** Sets the rules, or sets them again. Throws ENGINE_UNSUITABLE with why they cannot be set here. */
export const setRules = async (host: FirewallHost, bridge: string): Promise<void> => {
  if (!hasInterface(await host.interfaces(), bridge)) {
    throw unsettable(NOT_HERE)
  }
  await must(host, 'iptables-restore', ['--noflush', ...WAIT], rulesOf(bridge))
  const jump = jumpTo(bridge)
  for (const from of JUMPS_FROM) {
    const { status } = await host.run('iptables', [...WAIT, '-C', from, ...jump], '')
    if (status !== 0) await must(host, 'iptables', [...WAIT, '-I', from, '1', ...jump], '')
  }
}

/** Throws ENGINE_UNSUITABLE with why no rules can be set around bridges of an engine that has these. */
export const examineRules = async (
  host: FirewallHost,
  bridges: readonly string[],
): Promise<void> => {
  const interfaces = await host.interfaces()
  if (!bridges.some((bridge) => hasInterface(interfaces, bridge))) throw unsettable(NOT_HERE)
  for (const from of JUMPS_FROM) await must(host, 'iptables', [...WAIT, '-S', from], '')
}

/** Takes away the rules of bridges that are no more. Done as well where there are none. */
export const sweepRules = async (host: FirewallHost): Promise<void> => {
  const run = (...args: string[]) =>
    host.run('iptables', [...WAIT, ...args], '').catch(() => ({ status: 1, output: '' }))
  const { output } = await run('-S')
  const interfaces = await host.interfaces()
  for (const [, number = ''] of output.matchAll(/^-N HYPER-([0-9a-f]{8})$/gm)) {
    const bridge = bridgeNameOf(number)
    if (hasInterface(interfaces, bridge)) continue
    for (const from of JUMPS_FROM) await run('-D', from, ...jumpTo(bridge))
    await run('-F', chainOf(bridge))
    await run('-X', chainOf(bridge))
  }
}

/** The host that this process runs on. */
export const thisHost: FirewallHost = {
  namespace: '/proc/self/ns/net',
  // By /proc, which shows the network of whoever reads it; /sys shows that of its mount.
  interfaces: () => readFile('/proc/self/net/dev', 'utf8'),
  run: (program, args, input) =>
    new Promise((resolve, reject) => {
      const child = spawn(program, args, {
        env: { PATH: `${process.env.PATH ?? ''}:${SYSTEM_PATH}`, LC_ALL: 'C' },
        timeout: limits.firewallMsMax,
      })
      let output = ''
      const keep = (chunk: Buffer): void => {
        output = (output + chunk.toString()).slice(-limits.firewallOutputCharsMax)
      }
      child.stdout.on('data', keep)
      child.stderr.on('data', keep)
      // A program that ended without reading its input says so by its status.
      child.stdin.on('error', () => undefined)
      child.stdin.end(input)
      child.on('error', reject)
      child.on('close', (code) => resolve({ status: code ?? 1, output }))
    }),
}
