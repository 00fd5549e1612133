/**
 * The sending half of a channel. Messages wait as they are; small ones go before bulk (../lane.ts),
 * and what lies together is encoded and written in one go.
 *
 *   idle ─send─► pumping ─nothing waits─► idle
 *     └──────────┴─ fail ─► failed: what waits and what comes is rejected
 *
 * What the stream has cannot be overtaken any more. So it is given the next messages only when it
 * holds less than limits.streamUnsentBytesMax unsent: a small message waits for one large one at the
 * most, and for what is on the line (the receiver's window, the buffers of the hosts). One message has
 * 3 MiB at the most; to cut it into pieces would gain little over that, for a format of its own.
 *
 * Senders are slowed down by `send`, which resolves when the stream has the message; who does not wait
 * for it bounds what it sends by other means (roster.ts refuses calls). A receiver for which so many
 * messages wait all the same takes nothing, and the channel ends.
 */

import type { Stream } from '@libp2p/interface'
import { encode as prefix } from 'it-length-prefixed'
import { HyperError } from '../errors.ts'
import type { Lane } from '../lane.ts'
import { limits } from '../limits.ts'
import { createWaiting, type Waiting, type WaitingMessages } from './waiting.ts'

interface Batch<Out> {
  readonly frames: Uint8Array[]
  readonly senders: Waiting<Out>[]
}

export interface Outgoing<Out> {
  readonly send: (message: Out) => Promise<void>
  /** Resolves when everything that waited has been handed to the stream, or failed. */
  readonly flushed: () => Promise<void>
  readonly fail: (error: Error) => void
}

interface OutgoingDeps<Out> {
  readonly stream: Stream
  readonly encode: (message: Out) => Uint8Array
  readonly laneOf: (message: Out) => Lane
  /** The stream takes no more. Must call `fail` before it returns. */
  readonly onBroken: (error: unknown) => void
}

export const createOutgoing = <Out>(deps: OutgoingDeps<Out>): Outgoing<Out> => {
  const { stream, encode, onBroken } = deps
  const waiting = createWaiting(deps.laneOf)
  let failure: Error | undefined
  let pumping: Promise<void> | undefined

  const pump = async (): Promise<void> => {
    // What is sent in one turn of the event loop shall lie together.
    await Promise.resolve()
    while (waiting.size() > 0 && failure === undefined) {
      const batch = takeBatch(waiting, encode)
      if (batch.frames.length === 0) continue
      try {
        await give(stream, joined(batch.frames))
      } catch (error) {
        onBroken(error)
        for (const sender of batch.senders) sender.reject(failure ?? error)
        break
      }
      for (const sender of batch.senders) sender.resolve()
    }
    pumping = undefined
  }

  return {
    send: (message) =>
      new Promise((resolve, reject) => {
        if (failure === undefined && waiting.size() >= limits.channelWaitingMax) {
          onBroken(
            new Error(`${limits.channelWaitingMax} messages wait: the other side takes none`),
          )
        }
        if (failure !== undefined) return reject(failure)
        waiting.push({ message, resolve, reject })
        pumping ??= pump()
      }),
    flushed: async () => pumping,
    fail: (error) => {
      failure ??= error
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        next.reject(failure)
      }
    },
  }
}

const takeBatch = <Out>(waiting: WaitingMessages<Out>, encode: (message: Out) => Uint8Array) => {
  const batch: Batch<Out> = { frames: [], senders: [] }
  let bytes = 0
  while (bytes < limits.channelBatchBytesMax) {
    const sender = waiting.shift()
    if (sender === undefined) break
    try {
      const frame = encode(sender.message)
      if (frame.byteLength > limits.messageBytesMax) {
        throw new HyperError('INTERNAL', `a message of ${frame.byteLength} bytes is too long`)
      }
      batch.frames.push(frame)
      batch.senders.push(sender)
      bytes += frame.byteLength
    } catch (error) {
      sender.reject(error)
    }
  }
  return batch
}

/** As one piece, so that small ones share a frame of the muxer. */
const joined = ([first = new Uint8Array(), ...others]: readonly Uint8Array[]) => {
  const list = prefix.single(first)
  for (const frame of others) list.append(prefix.single(frame))
  return list
}

/**
 * Piece by piece: a frame of the muxer is as long as its window, and the other side sees nothing of it before
 * it is whole. On a slow line that would look like silence.
 */
const give = async (stream: Stream, list: ReturnType<typeof joined>): Promise<void> => {
  for (let at = 0; at < list.byteLength; at += limits.streamPieceBytes) {
    stream.send(list.sublist(at, Math.min(at + limits.streamPieceBytes, list.byteLength)))
    await unsentBelow(stream, limits.streamUnsentBytesMax)
  }
}

/** A stream tells at the first window update that it takes more, however much is unsent: so this looks itself. */
const unsentBelow = async (stream: Stream, bytesMax: number): Promise<void> => {
  while (stream.writeBufferLength > bytesMax && stream.status === 'open') {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = (): void => resolve()
    stream.addEventListener('drain', wake)
    stream.addEventListener('idle', wake)
    stream.addEventListener('close', wake)
    await promise
    stream.removeEventListener('drain', wake)
    stream.removeEventListener('idle', wake)
    stream.removeEventListener('close', wake)
  }
  if (stream.status !== 'open') throw new Error('the stream is closed')
}
