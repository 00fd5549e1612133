/**
 * Inbound connections until they have proven a key that is on the list. A handshake costs the
 * coordinator milliseconds (a certificate is made for each): a few are under way at a time, the
 * addresses in turn (turns.ts), and an address has a number of tries, which come back with time, and
 * at once for those that are let in:
 *
 *   begin ─► waiting ─ its turn, with a try ─► under way ─ its key is on the list ─► admitted: the try is given back
 *               └─ gone meanwhile, or too many ─► over  └─ refused, too slow, broken off ─► over: the try is spent
 *
 * So a thousand agents that return at once from behind one address are let in one after the other, as
 * fast as can be: all at once they would all be ready with the last one, when most had given up. An
 * address of strangers gets what tries come back to it, and holds two of the places with that. Who waits
 * is a socket, and nothing of what it sends is kept.
 */

import type { MultiaddrConnection } from '@libp2p/interface'
import { HyperError } from '../errors.ts'
import { limits } from '../limits.ts'
import { createRates } from '../rate.ts'
import { createTurns } from './turns.ts'

type Handshake = Pick<
  MultiaddrConnection,
  'remoteAddr' | 'addEventListener' | 'abort' | 'status' | 'maxReadBufferLength'
>

export interface Handshakes {
  /** Resolves when its turn has come, or it is over. */
  begin(connection: Handshake): Promise<void>
  admit(connection: Handshake): void
  /** Its key is not on the list. */
  refuse(connection: Handshake): void
}

/** `onHeldOff`: an address has no tries left, or one of it had to go. */
export const createHandshakes = (
  now: () => number,
  onHeldOff: (address: string) => void,
): Handshakes => {
  const tries = createRates(
    {
      perSecond: limits.handshakesPerSecondMax,
      burst: limits.handshakesBurstMax,
      namesMax: limits.handshakeAddressesMax,
    },
    now,
  )
  const turns = createTurns<Handshake>({
    ...{ atOnce: limits.handshakesAtOnceMax, turnMs: limits.handshakeTurnMs },
    ...{ waitingMax: limits.handshakesWaitingMax, againMs: 1000 / limits.handshakesPerSecondMax },
    mayBegin(address) {
      const may = tries.take(address)
      if (!may) onHeldOff(address)
      return may
    },
    onCrowdedOut(connection, address) {
      onHeldOff(address)
      connection.abort(new HyperError('FLOODED', 'too many wait for their handshake'))
    },
  })
  const timers = new WeakMap<Handshake, NodeJS.Timeout>()
  const end = (connection: Handshake): void => {
    clearTimeout(timers.get(connection))
    turns.end(connection)
  }
  return {
    async begin(connection) {
      connection.addEventListener('close', () => end(connection), { once: true })
      const { maxReadBufferLength } = connection
      // More ends it. Paused it would not be seen to go.
      connection.maxReadBufferLength = limits.handshakeWaitingBytesMax
      await turns.begin(connection, placeOf(connection.remoteAddr))
      connection.maxReadBufferLength = maxReadBufferLength
      if (connection.status !== 'open') return
      const giveUp = (): void => connection.abort(new HyperError('UNREACHABLE', 'no handshake'))
      timers.set(connection, setTimeout(giveUp, limits.handshakeMsMax).unref())
    },
    admit(connection) {
      tries.giveBack(placeOf(connection.remoteAddr))
      end(connection)
    },
    refuse: end,
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
