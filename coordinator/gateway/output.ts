/**
 * GET /output/NAME/UUID/CALLID[/wait], DELETE /output/… (cancel) and GET /status/NAME/UUID.
 * Asking does not count as a delivery; sending a final answer whole does (see delivery.ts).
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isCallId } from '../../protocol/call.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { CallView, StoredFunc } from '../ports.ts'
import { funcOfUrl, type Gateway } from './context.ts'
import { deliver } from './delivery.ts'
import { readQuery } from './query.ts'

type Address = { Params: { name: string; uuid: string } }
type CallAddress = { Params: { name: string; uuid: string; callId: string } }

const noSuchCall = (): HyperError => new HyperError('CALL_NOT_FOUND', 'no such call')

const addressed = (gateway: Gateway, request: FastifyRequest<CallAddress>): StoredFunc => {
  const stored = funcOfUrl(gateway, request.params)
  if (!isCallId(request.params.callId)) throw noSuchCall()
  return stored
}

export const isLive = ({ state }: CallView): boolean =>
  state === 'pending' || state === 'leased' || state === 'running'

const waitingLine = ({ position, message }: CallView): string => {
  const before = position === 0 ? 'no call' : position === 1 ? '1 call' : `${position} calls`
  return `waiting in the queue: ${before} before it${message ? ` (${message})` : ''}`
}

export const sendProgress = (reply: FastifyReply, view: CallView): FastifyReply => {
  const isRunning = view.state === 'running'
  return reply
    .code(isRunning ? 201 : 202)
    .type('text/plain; charset=utf-8')
    .headers({
      'X-Hyper-Call-Id': view.id,
      'X-Hyper-Reason': isRunning ? 'CALL_RUNNING' : 'CALL_WAITING',
    })
    .send(isRunning ? 'still running' : waitingLine(view))
}

const sendOutput = async (
  gateway: Gateway,
  request: FastifyRequest<CallAddress>,
  reply: FastifyReply,
): Promise<void> => {
  const { calls } = gateway.ports
  const { id } = addressed(gateway, request)
  const { callId } = request.params
  const early = await calls.answer(id, callId)
  if (early !== null) return deliver(gateway, request, reply, early)
  const view = await calls.find(id, callId)
  if (view === null) throw noSuchCall()
  if (isLive(view)) return void sendProgress(reply, view)
  // It ended between the two questions.
  const answer = await calls.answer(id, callId)
  if (answer === null) throw noSuchCall()
  deliver(gateway, request, reply, answer)
}

const sendStatus = async (
  gateway: Gateway,
  request: FastifyRequest<Address>,
): Promise<Record<string, unknown>> => {
  const { calls } = gateway.ports
  const { id } = funcOfUrl(gateway, request.params)
  const query = readQuery(request.query)
  const limit = query.count('limit', 1, limits.listCallsMax) ?? limits.listCallsMax
  const { pending, running, finished, failed } = calls.counts(id)
  const waiting = calls.whyWaiting(id)
  const counts = {
    Total: pending + running + finished + failed,
    Pending: pending,
    Running: running,
    Finished: finished,
    Failed: failed,
    ...(waiting === null ? {} : { Waiting: waiting }),
  }
  if (!query.flag('list')) return counts
  const listed = await calls.list(id, limit, query.callId('before'))
  const List = listed.map(({ callId, created, status, message }) => ({
    CallId: callId,
    Created: created,
    Status: status,
    Message: message,
  }))
  return { ...counts, List }
}

export const registerOutput = (app: FastifyInstance, gateway: Gateway): void => {
  const { calls } = gateway.ports

  app.get<CallAddress>('/output/:name/:uuid/:callId', async (request, reply) => {
    await sendOutput(gateway, request, reply)
    return reply
  })

  app.get<CallAddress>('/output/:name/:uuid/:callId/wait', async (request, reply) => {
    const { id } = addressed(gateway, request)
    const { callId } = request.params
    if ((await calls.find(id, callId)) === null) throw noSuchCall()
    const signal = AbortSignal.any([gateway.goneOf(request.raw.socket), gateway.closed])
    const answer = await calls.waitForAnswer(id, callId, signal)
    deliver(gateway, request, reply, answer)
    return reply
  })

  app.delete<CallAddress>('/output/:name/:uuid/:callId', async (request, reply) => {
    const { id } = addressed(gateway, request)
    await calls.cancel(id, request.params.callId)
    reply.code(202).type('text/plain; charset=utf-8')
    return reply.header('X-Hyper-Call-Id', request.params.callId).send('cancelled')
  })

  app.get<Address>('/status/:name/:uuid', (request) => sendStatus(gateway, request))
}
