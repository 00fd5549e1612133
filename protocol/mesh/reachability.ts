/**
 * Whether a coordinator is reached at one address, looked at from outside and without a word of what
 * agents say: a member that runs beside it is not disturbed. After the dial a protocol is asked for
 * that nobody speaks, because only the refusal of it shows that the gate has let us in:
 *
 *   dial ─► silent      no connection, or nothing came over it in time
 *        ─► stranger    something answers there, and does not prove the coordinator's key
 *        ─► refused     the coordinator, and our key is not on its list
 *        ─► admitted    the coordinator, and it knows our key
 *
 * A coordinator that ends in that very moment looks as if it refused: hence a refusal counts only when
 * it happens twice in a row.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { Logger as Log } from 'pino'
import { messageOf } from '../errors.ts'
import { limits } from '../limits.ts'
import { startDialler } from './node.ts'

const SPOKEN_BY_NOBODY = '/hyper-func/nobody/1'

export interface Reach {
  readonly how: 'silent' | 'stranger' | 'refused' | 'admitted'
  /** What the network said, where there was no coordinator. */
  readonly reason: string
}

interface Look {
  /** Peer id. */
  readonly coordinator: string
  /** A multiaddr without the peer id. */
  readonly address: string
  /** Whom we come as; null is nobody that is known. */
  readonly key: PrivateKey | null
  readonly log: Log
}

const isNamed = (error: unknown, name: string): boolean =>
  error instanceof Error && error.name === name

const lookOnce = async ({ coordinator, address, key, log }: Look): Promise<Reach> => {
  const signal = AbortSignal.timeout(limits.doctorConnectMs)
  const own = key ?? (await generateKeyPair('Ed25519'))
  const dialler = await startDialler({ key: own, coordinator, addresses: [address], log })
  try {
    // One address and no other: this does not choose among several, nor looks for more.
    const target = multiaddr(`${address}/p2p/${coordinator}`)
    const connection = await dialler.libp2p.dial(target, { signal })
    await connection.newStream(SPOKEN_BY_NOBODY, { signal })
    return { how: 'admitted', reason: '' }
  } catch (error) {
    if (isNamed(error, 'UnsupportedProtocolError')) return { how: 'admitted', reason: '' }
    if (dialler.timesProven() > 0) return { how: 'refused', reason: '' }
    const how = isNamed(error, 'EncryptionFailedError') ? 'stranger' : 'silent'
    return { how, reason: messageOf(error) }
  } finally {
    await dialler.stop()
  }
}

/** Gives an answer within twice `limits.doctorConnectMs`, and leaves no connection. */
export const lookAtAddress = async (look: Look): Promise<Reach> => {
  const first = await lookOnce(look)
  if (first.how !== 'refused') return first
  await pause(limits.redialMsMin)
  return lookOnce(look)
}
