/**
 * Where a dialler looks for its coordinator, and how it gets there: at the addresses that it was given
 * or told (race.ts), the one that answered last first; else, where the coordinator may be on another
 * host, on the LAN (lan.ts), less often the longer that finds nothing.
 */

import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { limits } from '../limits.ts'
import { reachFirst } from './race.ts'

interface Reached {
  readonly remoteAddr: Multiaddr
  readonly abort: (error: Error) => void
}

interface Deps<T extends Reached> {
  /** Peer id. */
  readonly coordinator: string
  /** Multiaddrs without the peer id, the best first. */
  readonly addresses: readonly string[]
  /** As in race.ts. */
  readonly dial: (address: Multiaddr, signal: AbortSignal, onConnected: () => void) => Promise<T>
  readonly searchLan: (tell: (address: string) => void, signal: AbortSignal) => Promise<void>
  readonly nowMs: () => number
}

export interface Whereabouts<T> {
  /** Multiaddrs without the peer id, the best first. */
  readonly addresses: () => readonly string[]
  /** Replaces what was known, but for what answered last. */
  readonly learn: (addresses: readonly string[]) => void
  /** Rejects with an AggregateError of what each address answered, or with the signal's reason. */
  readonly reach: (signal: AbortSignal) => Promise<T>
}

/** Pure. Without its doubles, and no more than are ever dialled. */
export const mergeAddresses = (...lists: (readonly string[])[]): readonly string[] =>
  [...new Set(lists.flat())].slice(0, limits.knownAddressesMax)

const LOOPBACK = /^\/(ip4\/127\.|ip6\/::1\/)/

/** Pure. One that is known on loopback only is on this host. */
export const mayBeElsewhere = (addresses: readonly string[]): boolean =>
  addresses.length === 0 || addresses.some((address) => !LOOPBACK.test(address))

export const withoutPeerId = (address: Multiaddr): string =>
  address.toString().replace(/\/p2p\/[^/]+$/, '')

export const createWhereabouts = <T extends Reached>(deps: Deps<T>): Whereabouts<T> => {
  const { coordinator, searchLan, nowMs } = deps
  let addresses = mergeAddresses(deps.addresses)
  let nextSearchMs = 0
  let pauseMs: number = limits.lanPauseMsMin

  const find = async (tell: (address: string) => void, signal: AbortSignal): Promise<void> => {
    await searchLan(tell, signal)
    if (signal.aborted) return
    nextSearchMs = nowMs() + pauseMs
    pauseMs = Math.min(limits.lanPauseMsMax, pauseMs * 2)
  }

  return {
    addresses: () => addresses,
    learn(told) {
      addresses = mergeAddresses(addresses.slice(0, 1), told)
    },
    async reach(signal) {
      const isSearchDue = mayBeElsewhere(addresses) && nowMs() >= nextSearchMs
      const reached = await reachFirst<T>({
        ...{ addresses, signal },
        dial: (address, own, onConnected) =>
          deps.dial(multiaddr(`${address}/p2p/${coordinator}`), own, onConnected),
        discard: (late) => late.abort(new Error('another address was faster')),
        find: isSearchDue ? find : null,
      })
      nextSearchMs = 0
      pauseMs = limits.lanPauseMsMin
      addresses = mergeAddresses([withoutPeerId(reached.remoteAddr)], addresses)
      return reached
    },
  }
}
