/**
 * GET /logs/NAME/UUID?callid=ID&stderr=1: the STDERR of one call as it was written, which its log
 * lines show in short. Asking does not use it up.
 */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { HyperError } from '../../protocol/errors.ts'
import type { StoredFunc } from '../ports.ts'
import { overloadedError } from './body.ts'
import type { Gateway } from './context.ts'
import { watchDelivery } from './delivery.ts'
import { isLive, sendProgress } from './output.ts'
import type { Query } from './query.ts'

/** 201 or 202 while the call has not ended. */
export const sendStderr = async (
  gateway: Gateway,
  { id }: StoredFunc,
  query: Query,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> => {
  const callId = query.callId('callid')
  if (callId === null || query.flag('follow')) {
    throw new HyperError('BAD_PARAMETER', 'query: stderr is of one call: it goes with callid alone')
  }
  const { calls } = gateway.ports
  const view = await calls.find(id, callId)
  if (view !== null && isLive(view)) return sendProgress(reply, view)
  const bytes = await calls.stderr(id, callId)
  if (!gateway.budget.take(bytes.byteLength)) throw overloadedError()
  watchDelivery(gateway, request, reply, () => gateway.budget.give(bytes.byteLength))
  return reply
    .type('application/octet-stream')
    .headers({ 'X-Hyper-Call-Id': callId })
    .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
}
