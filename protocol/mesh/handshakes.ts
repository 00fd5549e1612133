/**
 * Inbound connections until they have proven a key that is on the list. A handshake costs the
 * coordinator milliseconds (a certificate is made for each), and it holds a place until it ends; so
 * an address has a number of tries, which come back with time, and at once for those that are let in:
 *
 *   begin ─► tried ─ its key is on the list ─► admitted: the try is given back
 *     │        └─ refused, too slow, broken off ─► over: the try is spent
 *     └─ no tries left ─► refused before a byte is read
 *
 * So agents that all return at once from behind one address are bounded by those under way only, and
 * strangers by what an address gets back in a second.
 */

import type { MultiaddrConnection } from '@libp2p/interface'
import { limits } from '../limits.ts'
import { createRates } from '../rate.ts'

type Handshake = Pick<MultiaddrConnection, 'remoteAddr'>

export interface Handshakes {
  /** False: it is refused. */
  begin(connection: Handshake): boolean
  admit(connection: Handshake): void
}

export const createHandshakes = (now: () => number): Handshakes => {
  const tries = createRates(
    {
      perSecond: limits.handshakesPerSecondMax,
      burst: limits.handshakesBurstMax,
      namesMax: limits.handshakeAddressesMax,
    },
    now,
  )
  return {
    begin: ({ remoteAddr }) => tries.take(placeOf(remoteAddr)),
    admit: ({ remoteAddr }) => tries.giveBack(placeOf(remoteAddr)),
  }
}

const IP6_CODE = 41
/** The code of the component, and the network's half of the address: a host has all of the other half. */
const IP6_BYTES = 1 + 8

const placeOf = (address: Handshake['remoteAddr']): string => {
  const [first] = address.getComponents()
  if (first?.code !== IP6_CODE) return first?.value ?? ''
  return Buffer.from(address.bytes.subarray(0, IP6_BYTES)).toString('hex')
}
