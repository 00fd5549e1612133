/**
 * How a dialler opens a protocol with its coordinator, on a connection of its own, and what a
 * failure means. A dial may succeed before the coordinator's gate refuses it: the refusal then
 * shows as a connection that ends. So does a coordinator that dies in that moment; hence a refusal
 * counts only when it happens twice in a row.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { type Connection, type Stream, UnexpectedPeerError } from '@libp2p/interface'
import { type ErrorCode, HyperError, messageOf } from '../errors.ts'
import { limits } from '../limits.ts'
import type { Dialler } from './node.ts'

interface Opened {
  readonly stream: Stream
  readonly connection: Connection
}

export interface Refusal {
  readonly code: ErrorCode
  readonly message: string
}

interface OpenOptions {
  readonly protocol: string
  /** What it is when the coordinator proves its key and then refuses us. */
  readonly refusal: Refusal
  readonly signal: AbortSignal | undefined
}

export const openProtocol = async (dialler: Dialler, options: OpenOptions): Promise<Opened> => {
  try {
    return await openOnce(dialler, options)
  } catch (error) {
    if (!(error instanceof HyperError) || !isRefusal(error)) throw error
    await pause(limits.redialMsMin, undefined, { signal: options.signal }).catch(() => {
      throw error
    })
    return await openOnce(dialler, options)
  }
}

/** It was the coordinator that answered. */
const isRefusal = ({ code }: HyperError): boolean =>
  code !== 'UNREACHABLE' && code !== 'WRONG_COORDINATOR'

const openOnce = async (dialler: Dialler, options: OpenOptions): Promise<Opened> => {
  const { whereabouts, timesProven } = dialler
  const timeout = AbortSignal.timeout(limits.dialMs)
  const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout])
  const provenBefore = timesProven()
  let connection: Connection | undefined
  try {
    connection = await whereabouts.reach(signal)
    const stream = await connection.newStream(options.protocol, { signal })
    return { stream, connection }
  } catch (error) {
    connection?.abort(error instanceof Error ? error : new Error(messageOf(error)))
    const isProven = timesProven() > provenBefore
    throw describe(
      error,
      dialler,
      options,
      signal.aborted ? 'given-up' : isProven ? 'proven' : 'unproven',
    )
  }
}

const describe = (
  error: unknown,
  { coordinator, whereabouts }: Dialler,
  { protocol, refusal }: OpenOptions,
  reached: 'given-up' | 'proven' | 'unproven',
): HyperError => {
  const options = { cause: error }
  if (reached === 'proven') {
    return error instanceof Error && error.name === 'UnsupportedProtocolError'
      ? new HyperError('VERSION_MISMATCH', `the coordinator does not speak ${protocol}`, options)
      : new HyperError(refusal.code, refusal.message, options)
  }
  const addresses = whereabouts.addresses()
  const places = addresses.join(', ')
  if (reached === 'unproven' && isOfAnother(error)) {
    const place = addresses.length === 1 ? places : `one of ${places}`
    const message = `another coordinator than ${coordinator} answers at ${place}`
    return new HyperError('WRONG_COORDINATOR', message, options)
  }
  const reason = reached === 'given-up' ? 'no answer in time' : reasonOf(error)
  const message =
    places === ''
      ? `coordinator ${coordinator} was not found on the LAN of this host`
      : `coordinator ${coordinator} cannot be reached at ${places}: ${reason}`
  return new HyperError('UNREACHABLE', message, options)
}

const unexpectedPeer = new UnexpectedPeerError().message

/**
 * Whether some address was answered with another key; libp2p passes on no more than the message. That
 * one does not learn who asked: the agent ends the handshake before it shows its own key.
 */
const isOfAnother = (error: unknown): boolean =>
  error instanceof AggregateError
    ? error.errors.some(isOfAnother)
    : messageOf(error).includes(unexpectedPeer)

/** Several addresses fail with several errors. */
const reasonOf = (error: unknown): string =>
  error instanceof AggregateError ? error.errors.map(messageOf).join('; ') : messageOf(error)
