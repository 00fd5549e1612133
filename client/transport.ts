/**
 * One HTTP request of the client, over node:http or node:https. It is not `fetch`: that gives up
 * after 300 s without headers, and a call may be waited for for hours.
 *
 * It promises: a bound on connecting and, where `answerMs` says so, on the answer; no bound
 * otherwise, but TCP keep-alive; bodies are streams in both directions; whatever fails on the way
 * is an UNREACHABLE that names the endpoint. It does not judge the status of an answer.
 */

import {
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
} from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { isLoopback } from '../protocol/loopback.ts'

export type Body = Uint8Array | AsyncIterable<Uint8Array>

export interface Question {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** With its query, from `/` on. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Body
  /** Longest wait for the whole answer; absent: for as long as it takes. */
  readonly answerMs?: number
  readonly signal?: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Must be read or destroyed. */
  readonly body: IncomingMessage
}

export interface Transport {
  readonly endpoint: string
  readonly ask: (question: Question) => Promise<Answer>
  /** The whole body as text, at most `limits.clientAnswerBytesMax`. */
  readonly readText: (body: IncomingMessage) => Promise<string>
  /** Says what went wrong on the way in the words of the error table. */
  readonly brokenBy: (error: unknown) => HyperError
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name of the host cannot be looked up',
  ECONNRESET: 'the connection broke',
  EPIPE: 'the connection broke',
  ETIMEDOUT: 'no answer',
  EHOSTUNREACH: 'no way to the host',
  ENETUNREACH: 'no way to the network',
  EPROTO: 'what answers there speaks no TLS; a coordinator without it is an http:// URL',
}

const codeOf = (error: unknown): string => {
  const code = error instanceof Error ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' ? code : ''
}

/** The endpoint as it is kept and shown: scheme and authority. Throws BAD_PARAMETER. */
export const parseEndpoint = (text: string): string => {
  const isBare = !/^[a-z][a-z0-9+.-]*:\/\//i.test(text)
  const isNear = isBare && isLoopback(URL.parse(`http://${text}`)?.hostname ?? '')
  // A bare name gets TLS: a token must not cross a network in the clear because of a short form.
  const url = URL.parse(isBare ? `${isNear ? 'http' : 'https'}://${text}` : text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    throw new HyperError(
      'BAD_PARAMETER',
      `not an endpoint: ${JSON.stringify(text.slice(0, 200))} (write http://HOST:PORT or https://HOST)`,
    )
  }
  return url.origin
}

/** Ends the request when the connection is not open in time. */
const boundConnecting = (sent: ClientRequest, event: 'connect' | 'secureConnect'): void => {
  sent.on('socket', (socket: Socket) => {
    socket.setKeepAlive(true, limits.clientKeepAliveMs)
    const timer = setTimeout(() => {
      sent.destroy(Object.assign(new Error('not connected in time'), { code: 'ETIMEDOUT' }))
    }, limits.clientConnectMs)
    const clear = (): void => clearTimeout(timer)
    socket.once(event, clear)
    socket.once('close', clear)
  })
}

const lengthOf = (body: Body | undefined): Record<string, string> => {
  if (body === undefined) return {}
  return body instanceof Uint8Array ? { 'Content-Length': String(body.byteLength) } : {}
}

async function* watched(
  body: AsyncIterable<Uint8Array>,
  onFailure: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  try {
    yield* body
  } catch (error) {
    // Told before the request is destroyed for it, which would look like a broken connection.
    onFailure(error)
    throw error
  }
}

/** Sends the body; a failure of its source ends the request, and is told as what it is. */
const sendBody = (
  sent: ClientRequest,
  body: Body | undefined,
  onFailure: (error: unknown) => void,
): void => {
  if (body === undefined || body instanceof Uint8Array) {
    sent.end(body)
    return
  }
  const source = Readable.from(watched(body, onFailure), { objectMode: false })
  // What else can break is the request, which has an error of its own.
  pipeline(source, sent).catch(() => undefined)
}

const collect = async (body: IncomingMessage): Promise<string> => {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    bytes += chunk.byteLength
    if (bytes > limits.clientAnswerBytesMax) {
      throw new HyperError('INTERNAL', `the coordinator’s answer has more than ${bytes} bytes`)
    }
  }
  return Buffer.concat(chunks).toString('utf8')
}

export const createTransport = (options: {
  readonly endpoint: string
  readonly signal?: AbortSignal
}): Transport => {
  const endpoint = parseEndpoint(options.endpoint)
  const isSecure = endpoint.startsWith('https:')

  const brokenBy = (error: unknown): HyperError => {
    if (error instanceof HyperError) return error
    const code = codeOf(error)
    const why = code.startsWith('HPE_')
      ? 'what answers there speaks no HTTP'
      : (REASONS[code] ?? messageOf(error))
    return new HyperError('UNREACHABLE', `cannot reach the coordinator at ${endpoint}: ${why}`, {
      cause: error,
    })
  }

  const ask = async (question: Question): Promise<Answer> => {
    // TLS costs 6 ms to load: not in the way of a plain endpoint.
    const send = isSecure ? (await import('node:https')).request : request
    const signals = [options.signal, question.signal].filter((signal) => signal !== undefined)
    const signal = AbortSignal.any(signals)
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const sent = send(`${endpoint}${question.path}`, {
        method: question.method,
        headers: { ...lengthOf(question.body), ...question.headers },
        agent: false,
        signal,
      })
      boundConnecting(sent, isSecure ? 'secureConnect' : 'connect')
      const { answerMs } = question
      const timer =
        answerMs === undefined
          ? undefined
          : setTimeout(() => {
              sent.destroy(new Error(`no answer within ${answerMs / 1000} s`))
            }, answerMs)
      sent.on('close', () => clearTimeout(timer))
      sent.on('error', (error) => reject(signal.aborted ? signal.reason : brokenBy(error)))
      sent.on('response', (body) => {
        resolve({ status: body.statusCode ?? 0, headers: body.headers, body })
      })
      sendBody(sent, question.body, reject)
    })
  }

  const readText = (body: IncomingMessage): Promise<string> =>
    collect(body).catch((error: unknown) => {
      options.signal?.throwIfAborted()
      throw brokenBy(error)
    })

  return { endpoint, ask, readText, brokenBy }
}
