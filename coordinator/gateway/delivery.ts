/**
 * Final answers of calls. The body of a finished call goes out byte for byte; whether it got there
 * decides what becomes of the output (see Who owns an output in ARCHITECTURE.md), so each delivery
 * ends with exactly one word to the ledger: `delivered` once the response was flushed and the socket
 * had not failed, else `undelivered`.
 */

import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ErrorCode } from '../../protocol/errors.ts'
import { HyperError } from '../../protocol/errors.ts'
import type { FinalAnswer } from '../ports.ts'
import { overloadedError } from './body.ts'
import { cutIfStalled, type Gateway, isReachable } from './context.ts'
import { errorBody, wantsJson } from './refusal.ts'

const reasonOf = (answer: FinalAnswer): ErrorCode =>
  answer.httpStatus === 410 ? 'OUTPUT_GONE' : answer.outcome.code

const headersOf = (answer: FinalAnswer): Record<string, string> => ({
  'X-Hyper-Call-Id': answer.callId,
  'X-Hyper-Attempt': String(answer.attempt),
  'X-Hyper-Reason': reasonOf(answer),
  ...(answer.outcome.exitCode === null
    ? {}
    : { 'X-Hyper-Exit-Code': String(answer.outcome.exitCode) }),
  ...(answer.httpStatus === 200 ? {} : { 'X-Hyper-Error': reasonOf(answer) }),
})

const goneText = (): string =>
  new HyperError('OUTPUT_GONE', 'the output has been fetched or rotated out').line

const contentOf = (
  answer: FinalAnswer,
  accept: string | undefined,
): { readonly type: string; readonly body: Uint8Array } => {
  if (answer.httpStatus === 200) return { type: 'application/octet-stream', body: answer.body }
  const isJson = wantsJson(accept)
  if (answer.httpStatus !== 410 && !isJson) {
    return { type: 'text/plain; charset=utf-8', body: answer.body }
  }
  const message = answer.httpStatus === 410 ? goneText() : new TextDecoder().decode(answer.body)
  const { type, body } = errorBody(reasonOf(answer), message, isJson)
  return { type, body: Buffer.from(body) }
}

/** Watches one response to its end; `settle` is called once, with whether it went out whole. */
export const watchDelivery = (
  gateway: Gateway,
  request: FastifyRequest,
  reply: FastifyReply,
  settle: (isDelivered: boolean) => void,
): void => {
  const { socket } = request.raw
  const response = reply.raw
  const gone = gateway.goneOf(socket)
  let isFlushed = false
  // Before Node's own listener, which ends the socket; and some versions fire it for a destroyed one.
  response.prependOnceListener('finish', () => {
    isFlushed = !socket.destroyed && socket.errored === null
  })
  const end = (): void => {
    response.off('close', end)
    gone.removeEventListener('abort', end)
    settle(isFlushed)
  }
  // In some versions a pipelined response that never got the socket has no `close` of its own.
  response.once('close', end)
  gone.addEventListener('abort', end, { once: true })
  cutIfStalled(request, reply)
}

/** Sends the answer. Throws OVERLOADED, with `undelivered` said, where there is no room for it. */
export const deliver = (
  gateway: Gateway,
  request: FastifyRequest,
  reply: FastifyReply,
  answer: FinalAnswer,
): void => {
  const { calls } = gateway.ports
  const { type, body } = contentOf(answer, request.headers.accept)
  const tell = (isDelivered: boolean): void => {
    if (answer.httpStatus === 410) return
    if (isDelivered) calls.delivered(answer.callId)
    else calls.undelivered(answer.callId)
  }
  if (!isReachable(request, reply)) {
    reply.hijack()
    tell(false)
    return
  }
  if (!gateway.budget.take(body.byteLength)) {
    tell(false)
    reply.header('X-Hyper-Call-Id', answer.callId)
    throw overloadedError()
  }
  watchDelivery(gateway, request, reply, (isDelivered) => {
    gateway.budget.give(body.byteLength)
    tell(isDelivered)
  })
  reply.hijack()
  reply.raw.writeHead(answer.httpStatus, {
    'Content-Type': type,
    'Content-Length': body.byteLength,
    ...headersOf(answer),
    ...(gateway.closing.aborted ? { Connection: 'close' } : {}),
  })
  reply.raw.end(body)
}
