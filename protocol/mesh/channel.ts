/**
 * A typed, framed channel over one libp2p stream, slowed down by a slow receiver. Small messages
 * overtake bulk, and nothing else is out of order (../lane.ts).
 *
 *   open ─close()──────────────► closing: sends what waits, drops what comes ─► closed (null)
 *     ├─ the other side closed ─► closed (null)
 *     ├─ connection lost ───────► closed (UNREACHABLE)
 *     ├─ a wrong message ───────► closed (BAD_PARAMETER), logged
 *     └─ abort(reason) ─────────► closed (reason)
 *
 * It promises order and whole messages, not delivery: `send` resolves when the stream has the
 * message, not when the other side has it. Must be created in the very turn in which the stream
 * was handed over: bytes that find no listener are not slowed down, and reset the stream.
 */

import type { Stream } from '@libp2p/interface'
import type { Logger as Log } from 'pino'
import { raceAbort } from '../abort.ts'
import { HyperError, messageOf } from '../errors.ts'
import type { Lane } from '../lane.ts'
import { limits } from '../limits.ts'
import { createIncoming } from './incoming.ts'
import { createOutgoing } from './outgoing.ts'

export interface Channel<Out, In> {
  readonly remotePeer: string
  /**
   * In the order of its lane. Resolves when the stream has the message and there is room for more; rejects when
   * the channel is closed. The message must not change until then.
   */
  readonly send: (message: Out) => Promise<void>
  /** Ends, without an error, when the channel is closed and what was received is taken. */
  readonly messages: AsyncIterableIterator<In>
  /** Bytes received: grows while a long message is under way, too. */
  readonly bytesReceived: () => number
  readonly close: () => Promise<void>
  readonly abort: (reason: Error) => void
  /** Null when either side closed it in order. */
  readonly closed: Promise<Error | null>
}

interface ChannelDeps<Out, In> {
  readonly stream: Stream
  readonly remotePeer: string
  readonly encode: (message: Out) => Uint8Array
  readonly decode: (bytes: Uint8Array) => In
  readonly laneOf: (message: Out) => Lane
  readonly log: Log
}

export const createChannel = <Out, In>(deps: ChannelDeps<Out, In>): Channel<Out, In> => {
  const { stream, remotePeer, encode, decode, log } = deps
  const { promise: closed, resolve: resolveClosed } = Promise.withResolvers<Error | null>()
  let state: 'open' | 'closing' | 'closed' = 'open'
  let bytesReceived = 0

  const settle = (reason: Error | null): void => {
    if (state === 'closed') return
    state = 'closed'
    outgoing.fail(reason ?? new HyperError('UNREACHABLE', `the channel to ${remotePeer} is closed`))
    incoming.end()
    resolveClosed(reason)
  }
  const abort = (reason: Error): void => {
    settle(reason)
    stream.abort(reason)
  }
  const lost = (error: unknown): void => {
    const message = `the connection to ${remotePeer} was lost: ${messageOf(error)}`
    abort(new HyperError('UNREACHABLE', message, { cause: error }))
  }
  const outgoing = createOutgoing({ stream, encode, laneOf: deps.laneOf, onBroken: lost })
  const incoming = createIncoming({ stream, decode })

  const onReadEnd = (error: unknown): void => {
    if (state === 'closed') return
    if (error instanceof HyperError) {
      log.warn({ peer: remotePeer, err: error }, 'channel closed for a wrong message')
      abort(error)
    } else lost(error)
  }
  const onRemoteClosed = (): void => {
    if (state === 'closed') return
    settle(null)
    stream.close({ signal: closeSignal() }).catch(lost)
  }

  const close = async (): Promise<void> => {
    if (state !== 'open') return void (await closed)
    state = 'closing'
    incoming.discard()
    const signal = closeSignal()
    try {
      await raceAbort(outgoing.flushed(), signal)
      await stream.close({ signal })
      await raceAbort(over, signal)
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(messageOf(error)))
    }
    settle(null)
  }

  const { promise: over, resolve: resolveOver } = Promise.withResolvers<void>()
  stream.addEventListener('close', () => resolveOver(), { once: true })
  stream.addEventListener('message', ({ data }) => {
    bytesReceived += data.byteLength
  })
  incoming.readAll().then(onRemoteClosed, onReadEnd)
  return {
    remotePeer,
    messages: incoming.messages,
    bytesReceived: () => bytesReceived,
    send: async (message) => {
      if (state === 'closing') throw new HyperError('UNREACHABLE', 'the channel is closing')
      await outgoing.send(message)
    },
    close,
    abort,
    closed,
  }
}

const closeSignal = (): AbortSignal => AbortSignal.timeout(limits.channelCloseMs)
