/**
 * Errors as answers: the table's status, the message as text (or as JSON for a client that asks
 * for it), and the code in X-Hyper-Error. What is not a HyperError is a fault of ours: it is logged
 * with its cause and answered without inner details.
 *
 * An answer to a request whose body is still on its way is sent first, and the body read away for
 * a while before the connection closes: closing at once would reset it and destroy the answer.
 */

import { STATUS_CODES } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ERRORS, HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { contentLengthOf, expectsContinue, hasBody } from './body.ts'
import { type Gateway, isReachable } from './context.ts'

export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'Cache-Control': 'no-store',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
}

interface Refusal {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export const wantsJson = (accept: string | undefined): boolean =>
  accept !== undefined && /\bapplication\/json\b/i.test(accept)

export const errorBody = (
  code: string,
  message: string,
  isJson: boolean,
): { readonly type: string; readonly body: string } =>
  isJson
    ? { type: 'application/json; charset=utf-8', body: JSON.stringify({ message, code }) }
    : { type: 'text/plain; charset=utf-8', body: message }

const refusalOf = (error: HyperError, accept: string | undefined): Refusal => {
  const { code } = error
  const status = ERRORS[code].http
  const line = code === 'INTERNAL' ? new HyperError(code, 'internal error').line : error.line
  const { type, body } = errorBody(code, line, wantsJson(accept))
  return {
    status,
    headers: {
      'Content-Type': type,
      'Content-Length': String(Buffer.byteLength(body)),
      'X-Hyper-Error': code,
      ...(code === 'UNAUTHORIZED' ? { 'WWW-Authenticate': 'Bearer' } : {}),
      ...(status === 429 || status === 503
        ? { 'Retry-After': String(limits.retryAfterSeconds) }
        : {}),
    },
    body,
  }
}

/** A whole answer as it goes over the wire, where there is no response object to write it to. */
export const rawRefusal = (error: HyperError, accept: string | undefined): string => {
  const { status, headers, body } = refusalOf(error, accept)
  const all = { ...SECURITY_HEADERS, ...headers, Connection: 'close' }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`)
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, ...lines, '', body].join('\r\n')
}

/** The body may be large or endless, or may never come: the connection cannot be used again. */
const mustClose = ({ raw }: FastifyRequest): boolean =>
  raw.headers['transfer-encoding'] !== undefined ||
  contentLengthOf(raw) > limits.payloadBytesMax ||
  expectsContinue(raw)

const sendAndLinger = (
  gateway: Gateway,
  request: FastifyRequest,
  reply: FastifyReply,
  refusal: Refusal,
): void => {
  reply.hijack()
  const { raw } = request
  const response = reply.raw
  response.writeHead(refusal.status, { ...refusal.headers, Connection: 'close' })
  response.write(refusal.body)
  const finish = (): void => {
    clearTimeout(timer)
    gateway.closed.removeEventListener('abort', finish)
    response.end()
  }
  const timer = setTimeout(finish, limits.lingerMs)
  gateway.closed.addEventListener('abort', finish, { once: true })
  raw.once('end', finish).once('close', finish).resume()
}

/** Answers a request with an error, as far as there is anyone to answer. */
export const sendRefusal = (
  gateway: Gateway,
  error: HyperError,
  request: FastifyRequest,
  reply: FastifyReply,
): void => {
  if (error.code === 'INTERNAL') {
    const route = request.routeOptions.url ?? 'none'
    gateway.log.error(
      { err: error.cause ?? error, method: request.method, route },
      'request failed',
    )
  }
  if (!isReachable(request, reply)) {
    reply.hijack()
    return
  }
  const refusal = refusalOf(error, request.headers.accept)
  const isBodyComing = hasBody(request.raw) && !request.raw.complete
  if (isBodyComing && mustClose(request)) {
    sendAndLinger(gateway, request, reply, refusal)
    return
  }
  if (isBodyComing) request.raw.resume()
  reply.code(refusal.status).headers(refusal.headers).send(refusal.body)
}
