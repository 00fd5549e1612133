/**
 * The receiving half of a channel: cuts what comes into messages and keeps them until they are taken.
 * When more than limits.channelInboxBytesMax lie untaken it pauses the stream, which stops the
 * sender through the window. What was received before the end can still be taken after it.
 *
 *   flowing ─the inbox is full─► paused ─it has room, and no whole frame is left of what came─► flowing
 *
 * To resume gives the sender a whole window at once, which is more than a frame. Done for each frame
 * that is taken it would bring more than is emptied, without end. So bytes are pulled: the stream goes
 * on when the next frame needs more of them.
 */

import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { decode as cut } from 'it-length-prefixed'
import { HyperError, messageOf } from '../errors.ts'
import { limits } from '../limits.ts'

type Bytes = StreamMessageEvent['data']

export interface Incoming<In> {
  readonly messages: AsyncIterableIterator<In>
  /**
   * Reads until the other side has closed its end in order. Rejects with BAD_PARAMETER for what is no
   * message, with anything else where the stream broke.
   */
  readonly readAll: () => Promise<void>
  /** No more will come. */
  readonly end: () => void
  /** Nobody takes any more: drops what is there and what still comes. */
  readonly discard: () => void
}

interface IncomingDeps<In> {
  readonly stream: Stream
  readonly decode: (bytes: Uint8Array) => In
}

export const createIncoming = <In>({ stream, decode }: IncomingDeps<In>): Incoming<In> => {
  const pieces = pull(stream)
  const inbox: { message: In; bytes: number }[] = []
  let inboxBytes = 0
  let isEnded = false
  let isDiscarding = false
  let arrival = Promise.withResolvers<void>()
  let room = Promise.withResolvers<void>()
  // A stream that is reset while paused must not leave this waiting for room.
  stream.addEventListener('close', () => room.resolve(), { once: true })

  const roomInInbox = async (): Promise<void> => {
    if (inboxBytes <= limits.channelInboxBytesMax || stream.status !== 'open') return
    if (stream.readStatus === 'readable') stream.pause()
    room = Promise.withResolvers()
    await room.promise
  }

  const read = async (): Promise<void> => {
    let isWhole = true
    const frames = cut(pieces.untilEnd(), {
      maxDataLength: limits.messageBytesMax,
      onLength(length) {
        // It would be looked at only when more comes.
        if (length === 0) throw new Error('it is empty')
        isWhole = false
      },
      onData() {
        isWhole = true
      },
    })
    for await (const frame of frames) {
      if (isDiscarding) continue
      const bytes = frame.subarray()
      inbox.push({ message: decode(bytes), bytes: bytes.byteLength })
      inboxBytes += bytes.byteLength
      arrival.resolve()
      await roomInInbox()
    }
    if (!isWhole) throw new Error('it is cut short')
  }

  const readAll = async (): Promise<void> => {
    try {
      await read()
    } catch (error) {
      // A frame that is cut off by a line which broke is not a wrong one.
      if (pieces.breach() === null) throw wrong(error)
    }
    const breach = pieces.breach()
    if (breach !== null) throw breach
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

const wrong = (error: unknown): HyperError =>
  new HyperError('BAD_PARAMETER', `a message does not parse: ${messageOf(error)}`, { cause: error })

/** What comes on a stream, from this very turn on. */
const pull = (stream: Stream) => {
  const came: Bytes[] = []
  let news = Promise.withResolvers<void>()
  let hasRemoteClosed = false
  let closing: Error | undefined
  let breach: Error | null = null

  stream.addEventListener('message', ({ data }) => {
    came.push(data)
    news.resolve()
  })
  stream.addEventListener('remoteCloseWrite', () => {
    hasRemoteClosed = true
    news.resolve()
  })
  stream.addEventListener('close', ({ error }) => {
    closing = error
    news.resolve()
  })

  const isOpen = (): boolean => stream.status === 'open' || stream.status === 'closing'
  /** Also where the other side had closed its end before this one listened. */
  const hasEnded = (): boolean =>
    hasRemoteClosed || (stream.remoteWriteStatus === 'closed' && stream.readBufferLength === 0)

  /** Also on a line that is closed: what had come before is handed over first. */
  const resume = (): void => {
    try {
      stream.resume()
    } catch {
      // The sender cannot be told to go on, and will not be there.
    }
  }

  return {
    /** Why it ended before the other side had closed its end. */
    breach: () => breach,
    async *untilEnd(): AsyncGenerator<Bytes> {
      for (;;) {
        const next = came.shift()
        if (next !== undefined) yield next
        else if (stream.readStatus === 'paused') resume()
        else if (isOpen() && hasEnded()) return
        else if (!isOpen()) {
          if (!hasRemoteClosed || stream.status === 'aborted') {
            breach = closing ?? new Error('the stream is closed')
          }
          return
        } else {
          news = Promise.withResolvers()
          await news.promise
        }
      }
    },
  }
}
