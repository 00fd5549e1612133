/**
 * POST (GET, PUT, DELETE) /call/NAME/UUID[/sync]: the body is STDIN, headers become environment.
 * Nothing is read of a request whose address is wrong. A sync client that goes away does not end
 * its call: the output is said to be undelivered and stays to be fetched.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { raceAbort } from '../../protocol/abort.ts'
import { buildEnvironment } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import type { CallRequest, FinalAnswer } from '../ports.ts'
import { type Body, readBody } from './body.ts'
import { funcOfUrl, type Gateway, stoppingError } from './context.ts'
import { deliver } from './delivery.ts'

type Address = { Params: { name: string; uuid: string } }

const METHODS = ['GET', 'POST', 'PUT', 'DELETE']

/** Header values come as latin1, byte for byte; those that are UTF-8 are read as it. */
const headerText = (value: string): string => {
  const bytes = Buffer.from(value, 'latin1')
  const text = bytes.toString('utf8')
  return text.includes('\ufffd') ? value : text
}

const headerPairs = (rawHeaders: readonly string[], bodyBytes: number): [string, string][] => {
  const pairs: [string, string][] = []
  let isChunked = false
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    pairs.push([name, headerText(rawHeaders[i + 1] ?? '')])
    if (name.toLowerCase() === 'transfer-encoding') isChunked = true
  }
  // RFC 3875, 4.1.2: the length after transfer codings are removed.
  return isChunked ? [...pairs, ['Content-Length', String(bodyBytes)]] : pairs
}

const readRequest = async (
  gateway: Gateway,
  request: FastifyRequest<Address>,
  reply: FastifyReply,
): Promise<{ call: CallRequest; body: Body }> => {
  const stored = funcOfUrl(gateway, request.params)
  if (gateway.isStopping()) throw stoppingError()
  const body = await readBody(gateway, request, reply, limits.payloadBytesMax, 'PAYLOAD_TOO_LARGE')
  try {
    const url = request.raw.url ?? ''
    const { environment, note } = buildEnvironment({
      method: request.method,
      queryString: headerText(url.includes('?') ? url.slice(url.indexOf('?') + 1) : ''),
      headers: headerPairs(request.raw.rawHeaders, body.bytes.length),
      funcEnv: stored.func.Config.Env,
      labels: stored.func.Config.Labels,
      imageEnv: stored.image.config.Env ?? [],
    })
    return { call: { stored, payload: body.bytes, environment, note }, body }
  } catch (error) {
    body.release()
    throw error
  }
}

export const registerCalls = (app: FastifyInstance, gateway: Gateway): void => {
  const { calls } = gateway.ports

  app.route<Address>({
    method: METHODS,
    url: '/call/:name/:uuid',
    handler: async (request, reply) => {
      const { call, body } = await readRequest(gateway, request, reply)
      try {
        const callId = await calls.accept(call)
        return reply.header('X-Hyper-Call-Id', callId).send({ CallId: callId })
      } finally {
        body.release()
      }
    },
  })

  app.route<Address>({
    method: METHODS,
    url: '/call/:name/:uuid/sync',
    handler: async (request, reply) => {
      const { call, body } = await readRequest(gateway, request, reply)
      const signal = AbortSignal.any([gateway.goneOf(request.raw.socket), gateway.closed])
      let accepted: ReturnType<typeof calls.acceptSync>
      try {
        accepted = calls.acceptSync(call)
      } finally {
        // From here on the payload counts as queued.
        body.release()
      }
      let answer: FinalAnswer
      try {
        answer = await raceAbort(accepted.answer, signal)
      } catch (error) {
        // The client went away, or the answer will not come: either way nobody gets it here.
        calls.undelivered(accepted.callId)
        reply.header('X-Hyper-Call-Id', accepted.callId)
        throw error
      }
      // Says by itself what became of the delivery.
      deliver(gateway, request, reply, answer)
    },
  })
}
