/**
 * A container's way onto the bridge of networked functions (bridge.ts), as its keeper is told it
 * (init/keeper-link.c), which makes a pair of interfaces in a namespace that the container then gets.
 * The engine gives out the lower half of the bridge's addresses, we those of the upper half.
 */

import { randomInt } from 'node:crypto'

/** What networked containers of the OCI runner are connected to. */
export interface Link {
  /** Where the bridge is, as the path of a network namespace. */
  readonly namespace: string
  /** The bridge's interface there. */
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

/** `hyp`, the end of the bridge's name, and a number. */
const PORT = /^\s*hyp(.{4})-[0-9a-f]+:/gm
const BITS = 32
/** Smaller networks are not shared. */
const PREFIX_MAX = 24
/** Their numbers are part of interfaces' names, which are short. */
const ADDRESSES_MAX = 2 ** 24

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
  return { first: numberOf(base) + half, count: Math.min(half - 1, ADDRESSES_MAX), prefix }
}

/** The keeper takes the first free one from a random one on. */
export const linkWordsOf = ({ namespace, bridge, gateway, range }: Link): readonly string[] => {
  const { first, count, prefix } = range
  return [namespace, bridge, gateway, ...[first, count, prefix, randomInt(count)].map(String)]
}

/** Whether containers are on it that a keeper has put there: by the text of /proc/net/dev. Pure. */
export const hasPorts = (interfaces: string, bridge: string): boolean =>
  [...interfaces.matchAll(PORT)].some(([, of = '']) => bridge.endsWith(of))
