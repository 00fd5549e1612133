/**
 * The sending half of a channel. Messages wait as they are, in the order of `send`; what lies
 * together is encoded and written in one go. Encoded bytes in memory are bounded by
 * limits.channelBytesMax: above it the pump waits for the stream, and senders for the pump.
 *
 *   idle ─send─► pumping ─queue empty─► idle
 *     └──────────┴─ fail ─► failed: what waits and what comes is rejected
 */

import type { Stream } from '@libp2p/interface'
import type { LengthPrefixedStream } from '@libp2p/utils'
import { HyperError } from '../errors.ts'
import { limits } from '../limits.ts'

interface Waiting<Out> {
  readonly message: Out
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

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
  readonly frames: LengthPrefixedStream<Stream>
  readonly encode: (message: Out) => Uint8Array
  /** The stream takes no more. Must call `fail` before it returns. */
  readonly onBroken: (error: unknown) => void
}

/** With this much still unsent, the next batch would go over the bound. */
const unsentBytesMax = limits.channelBytesMax - limits.channelBatchBytesMax - limits.messageBytesMax

export const createOutgoing = <Out>(deps: OutgoingDeps<Out>): Outgoing<Out> => {
  const { stream, frames, encode, onBroken } = deps
  const queue: Waiting<Out>[] = []
  let failure: Error | undefined
  let pumping: Promise<void> | undefined

  const pump = async (): Promise<void> => {
    // What is sent in one turn of the event loop shall lie together.
    await Promise.resolve()
    while (queue.length > 0 && failure === undefined) {
      const batch = takeBatch(queue, encode)
      if (batch.frames.length === 0) continue
      try {
        await frames.writeV(batch.frames)
        await unsentBelow(stream, unsentBytesMax)
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
        if (failure !== undefined) return reject(failure)
        queue.push({ message, resolve, reject })
        pumping ??= pump()
      }),
    flushed: async () => pumping,
    fail: (error) => {
      failure ??= error
      for (const sender of queue.splice(0)) sender.reject(failure)
    },
  }
}

const takeBatch = <Out>(queue: Waiting<Out>[], encode: (message: Out) => Uint8Array) => {
  const batch: Batch<Out> = { frames: [], senders: [] }
  let bytes = 0
  while (bytes < limits.channelBatchBytesMax) {
    const sender = queue.shift()
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

/** A write returns at the first window update, however much is unsent: so this looks itself. */
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
