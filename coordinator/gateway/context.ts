/**
 * What every route of the gateway works with, and what it knows of the connection it answers on.
 */

import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Log } from '../../daemon/log.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Ports, StoredFunc } from '../ports.ts'
import type { ByteBudget } from './body.ts'

export interface Gateway {
  readonly ports: Ports
  readonly log: Log
  readonly budget: ByteBudget
  /** The coordinator drains: no new calls. */
  readonly isStopping: () => boolean
  /** Aborted when the gateway closes: followers end at once … */
  readonly closing: AbortSignal
  /** … and requests that still wait are told so a little later. */
  readonly closed: AbortSignal
  /** Aborted when the connection is gone. */
  readonly goneOf: (socket: Socket) => AbortSignal
}

/** One signal a connection, because pipelined requests would each add listeners to its socket. */
export const createGoneSignals = (): Gateway['goneOf'] => {
  const signals = new WeakMap<Socket, AbortSignal>()
  return (socket) => {
    const known = signals.get(socket)
    if (known !== undefined) return known
    const controller = new AbortController()
    const abort = (): void => controller.abort(new HyperError('STOPPING', 'the client went away'))
    if (socket.destroyed) abort()
    else socket.once('close', abort)
    signals.set(socket, controller.signal)
    return controller.signal
  }
}

export const stoppingError = (): HyperError =>
  new HyperError('STOPPING', 'the coordinator is stopping')

/**
 * The function that a call URL names. A wrong secret and an unknown name are told in the same
 * words, so that names cannot be tried out.
 */
export const funcOfUrl = (gateway: Gateway, params: { name: string; uuid: string }): StoredFunc => {
  const stored = gateway.ports.funcs.byUrl(params.name, params.uuid)
  if (stored !== null) return stored
  throw new HyperError('FUNC_NOT_FOUND', 'no function has this address')
}

/** Whether the answer can still reach its client. */
export const isReachable = (request: FastifyRequest, reply: FastifyReply): boolean =>
  !request.raw.socket.destroyed && !reply.raw.destroyed

/** A reader that takes nothing of its answer for a long time loses the connection. */
export const cutIfStalled = (request: FastifyRequest, reply: FastifyReply): void => {
  const { socket } = request.raw
  reply.raw.setTimeout(limits.answerStallMs, () => socket.destroy())
  // Else it would run on while a pipelined request waits for its own answer.
  reply.raw.prependOnceListener('finish', () => socket.setTimeout(0))
}
