/**
 * The receiving half of a channel: reads frames, decodes them and keeps them until they are taken.
 * When more than limits.channelInboxBytesMax lie untaken it pauses the stream, which stops the
 * sender through the window. What was received before the end can still be taken after it.
 *
 *   flowing ─the inbox is full─► paused ─it has room, and no whole frame is left of what came─► flowing
 *
 * To resume gives the sender a whole window at once, which is more than a frame. Done for each frame
 * that is taken it would fill the buffer of `frames` faster than that is emptied, until it breaks.
 */

import { setImmediate as turn } from 'node:timers/promises'
import type { Stream } from '@libp2p/interface'
import type { LengthPrefixedStream } from '@libp2p/utils'
import { HyperError, messageOf } from '../errors.ts'
import { limits } from '../limits.ts'

export interface Incoming<In> {
  readonly messages: AsyncIterableIterator<In>
  /** Reads until the stream ends or a message is wrong; always rejects. */
  readonly readAll: () => Promise<never>
  /** No more will come. */
  readonly end: () => void
  /** Nobody takes any more: drops what is there and what still comes. */
  readonly discard: () => void
}

interface IncomingDeps<In> {
  readonly stream: Stream
  readonly frames: LengthPrefixedStream<Stream>
  readonly decode: (bytes: Uint8Array) => In
}

export const createIncoming = <In>({ stream, frames, decode }: IncomingDeps<In>): Incoming<In> => {
  const inbox: { message: In; bytes: number }[] = []
  let inboxBytes = 0
  let isEnded = false
  let isDiscarding = false
  let arrival = Promise.withResolvers<void>()
  let room = Promise.withResolvers<void>()

  const roomInInbox = async (): Promise<void> => {
    if (inboxBytes <= limits.channelInboxBytesMax || stream.status !== 'open') return
    if (isReadable(stream)) stream.pause()
    room = Promise.withResolvers()
    await room.promise
  }

  const readFrame = async (): Promise<Uint8Array> => {
    const frame = frames.read()
    if (stream.readStatus === 'paused') {
      // One that has come is there without any I/O.
      const isThere = await Promise.race([frame.then(() => true), turn(false)])
      if (!isThere && stream.readStatus === 'paused') stream.resume()
    }
    return (await frame).subarray()
  }

  const readAll = async (): Promise<never> => {
    // A stream that is reset while paused must not leave this waiting for room.
    stream.addEventListener('close', () => room.resolve(), { once: true })
    for (;;) {
      const bytes = await readFrame()
      if (isDiscarding) continue
      inbox.push({ message: decodeFrame(decode, bytes), bytes: bytes.byteLength })
      inboxBytes += bytes.byteLength
      arrival.resolve()
      await roomInInbox()
    }
  }

  const next = async (): Promise<IteratorResult<In>> => {
    for (;;) {
      const first = inbox.shift()
      if (first !== undefined) {
        inboxBytes -= first.bytes
        if (inboxBytes <= limits.channelInboxBytesMax) room.resolve()
        return { done: false, value: first.message }
      }
      if (isEnded) return { done: true, value: undefined }
      arrival = Promise.withResolvers()
      await arrival.promise
    }
  }

  const end = (): void => {
    isEnded = true
    arrival.resolve()
  }

  return {
    // No `return`: leaving a loop over the messages does not end them.
    messages: {
      next,
      [Symbol.asyncIterator]() {
        return this
      },
    },
    readAll,
    end,
    discard: () => {
      isDiscarding = true
      inbox.length = 0
      inboxBytes = 0
      room.resolve()
      end()
    },
  }
}

const isReadable = (stream: Stream): boolean =>
  stream.readStatus === 'readable' || stream.readStatus === 'paused'

const decodeFrame = <In>(decode: (bytes: Uint8Array) => In, bytes: Uint8Array): In => {
  try {
    return decode(bytes)
  } catch (error) {
    const message = `a message does not parse: ${messageOf(error)}`
    throw new HyperError('BAD_PARAMETER', message, { cause: error })
  }
}
