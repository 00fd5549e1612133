/**
 * Request bodies: read as they came (never decompressed), their size counted while they stream,
 * and the memory of all of them together bounded by one budget.
 *
 * `Expect: 100-continue` is answered here, when somebody wants the body: a request that is refused
 * before that never sends it.
 */

import type { IncomingMessage } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorCode, HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Gateway } from './context.ts'

export interface ByteBudget {
  /** False, and nothing taken, where there is not so much left. */
  take(bytes: number): boolean
  give(bytes: number): void
}

export const createByteBudget = (bytesMax: number): ByteBudget => {
  let bytesTaken = 0
  return {
    take: (bytes) => {
      if (bytesTaken + bytes > bytesMax) return false
      bytesTaken += bytes
      return true
    },
    give: (bytes) => {
      bytesTaken -= bytes
    },
  }
}

export const overloadedError = (): HyperError =>
  new HyperError('OVERLOADED', 'too many large requests at once')

export interface Body {
  readonly bytes: Uint8Array
  /** Gives its share of the budget back; whoever read it calls this once it is passed on. */
  readonly release: () => void
}

const NO_BODY: Body = { bytes: new Uint8Array(0), release: () => undefined }

export const contentLengthOf = (raw: IncomingMessage): number =>
  Number(raw.headers['content-length'] ?? 0)

export const hasBody = (raw: IncomingMessage): boolean =>
  raw.headers['transfer-encoding'] !== undefined || contentLengthOf(raw) > 0

export const expectsContinue = (raw: IncomingMessage): boolean =>
  raw.headers.expect?.toLowerCase() === '100-continue'

interface Bounds {
  readonly bytesMax: number
  readonly code: ErrorCode
  readonly budget: ByteBudget
}

const tooLarge = ({ bytesMax, code }: Bounds): HyperError =>
  new HyperError(code, `the request's body has more than ${bytesMax} bytes`)

/**
 * A buffer that grows by doubling, so that a body of a million small chunks costs no more than
 * one of a few, and a length that was only announced costs nothing.
 */
const createCollector = (bounds: Bounds) => {
  let buffer = Buffer.alloc(0)
  let size = 0
  const grow = (needed: number): void => {
    const capacity = Math.min(
      Math.max(needed, buffer.length * 2, limits.bodyBufferBytesMin),
      bounds.bytesMax,
    )
    if (!bounds.budget.take(capacity - buffer.length)) throw overloadedError()
    const larger = Buffer.allocUnsafeSlow(capacity)
    buffer.copy(larger, 0, 0, size)
    buffer = larger
  }
  return {
    add: (chunk: Buffer): void => {
      const needed = size + chunk.length
      if (needed > bounds.bytesMax) throw tooLarge(bounds)
      if (needed > buffer.length) grow(needed)
      chunk.copy(buffer, size)
      size = needed
    },
    end: (): Uint8Array => buffer.subarray(0, size),
    release: (): void => {
      bounds.budget.give(buffer.length)
      buffer = Buffer.alloc(0)
    },
  }
}

const collect = (raw: IncomingMessage, bounds: Bounds): Promise<Body> =>
  new Promise((resolve, reject) => {
    const collector = createCollector(bounds)
    const stop = (): void => {
      raw.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onError)
    }
    const fail = (error: unknown): void => {
      stop()
      // A stream without an error listener throws; what it says no longer matters.
      raw.on('error', () => undefined)
      raw.pause()
      collector.release()
      reject(error)
    }
    const onData = (chunk: Buffer): void => {
      try {
        collector.add(chunk)
      } catch (error) {
        fail(error)
      }
    }
    const onEnd = (): void => {
      stop()
      resolve({ bytes: collector.end(), release: collector.release })
    }
    const onError = (): void => fail(new HyperError('BAD_PARAMETER', 'the request broke off'))
    const onClose = onError
    raw.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onError)
  })

/** Throws `code` over the bound (without reading on), or OVERLOADED. */
export const readBody = async (
  gateway: Gateway,
  request: FastifyRequest,
  reply: FastifyReply,
  bytesMax: number,
  code: ErrorCode,
): Promise<Body> => {
  const { raw } = request
  if (!hasBody(raw)) return NO_BODY
  const bounds = { bytesMax, code, budget: gateway.budget }
  if (contentLengthOf(raw) > bytesMax) throw tooLarge(bounds)
  if (expectsContinue(raw)) reply.raw.writeContinue()
  return collect(raw, bounds)
}

/** A management request's JSON; `undefined` where it has no body. */
export const readJson = async (
  gateway: Gateway,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> => {
  const bytesMax = limits.managementBodyBytesMax
  const body =
    request.signedBody === null
      ? await readBody(gateway, request, reply, bytesMax, 'BODY_TOO_LARGE')
      : { ...NO_BODY, bytes: request.signedBody }
  try {
    if (body.bytes.length === 0) return undefined
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body.bytes))
  } catch {
    throw new HyperError('BAD_PARAMETER', "the request's body is not JSON")
  } finally {
    body.release()
  }
}
