/**
 * The routes of both planes and the probes, what all their answers have in common (errors, one log
 * line a request, which names its route and never a secret of its URL), and 405 for the rest.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { HyperError, toHyperError } from '../../protocol/errors.ts'
import { authenticate, refuseForeignPages } from './auth.ts'
import { registerCalls } from './calls.ts'
import { cutIfStalled, type Gateway } from './context.ts'
import { registerFuncs } from './funcs.ts'
import { registerInfo, registerProbes } from './health.ts'
import { registerImages } from './images.ts'
import { registerLogs } from './logs.ts'
import { registerOperator } from './operator.ts'
import { registerOutput } from './output.ts'
import { sendRefusal } from './refusal.ts'

const METHODS: readonly HTTPMethods[] = [
  ...(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'] as const),
]

/** Fastify's own refusals (a URL that cannot be decoded) in our words. */
export const fromFramework = (error: unknown): HyperError => {
  const code = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined
  if (code === 'FST_ERR_BAD_URL')
    return new HyperError('BAD_PARAMETER', 'the path is not a valid URL')
  return toHyperError(error)
}

/** One line a request, when its connection is done with it. */
const logRequest = (gateway: Gateway, request: FastifyRequest, reply: FastifyReply): void => {
  const startMs = performance.now()
  const { raw } = reply
  raw.once('close', () => {
    gateway.log.debug(
      {
        method: request.method,
        route: request.routeOptions.url ?? 'none',
        status: raw.statusCode,
        durationMs: Math.round(performance.now() - startMs),
        complete: raw.writableFinished,
      },
      'request',
    )
  })
}

/** What all answers have in common, whatever their route. */
export const registerManners = (app: FastifyInstance, gateway: Gateway): void => {
  app.decorateRequest('account', null)
  app.decorateRequest('signedBody', null)
  app.addHook('onRequest', async (request, reply) => {
    logRequest(gateway, request, reply)
    // Bodies are read by whoever wants them, as bytes: a type that fastify cannot parse, or does
    // not know, must not be refused. `rawHeaders` still has it.
    delete request.raw.headers['content-type']
  })
  app.addHook('onSend', async (request, reply) => {
    if (gateway.closing.aborted) reply.header('Connection', 'close')
    cutIfStalled(request, reply)
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  app.setErrorHandler((error, request, reply) => {
    sendRefusal(gateway, fromFramework(error), request, reply)
  })
  app.setNotFoundHandler((request, reply) => {
    sendRefusal(gateway, new HyperError('NOT_FOUND', 'no such path'), request, reply)
  })
}

export const registerPlanes = async (
  app: FastifyInstance,
  gateway: Gateway,
  isLoopbackListener: boolean,
): Promise<void> => {
  const guard = async (request: FastifyRequest): Promise<void> => {
    refuseForeignPages(request.headers, isLoopbackListener, gateway.ports.publicUrl())
  }
  await app.register(async (plane) => {
    registerCalls(plane, gateway)
    registerOutput(plane, gateway)
    registerLogs(plane, gateway)
  })
  await app.register(async (probes) => {
    probes.addHook('onRequest', guard)
    registerProbes(probes, gateway)
  })
  await app.register(async (plane) => {
    plane.addHook('onRequest', guard)
    plane.addHook('onRequest', (request, reply) => authenticate(gateway, request, reply))
    registerInfo(plane, gateway)
    registerFuncs(plane, gateway)
    registerImages(plane, gateway)
    await plane.register(async (operator) => registerOperator(operator, gateway))
  })
}

/** Answers 405 where a path exists and the method does not. Call it before any route is added. */
export const collectMethods = (app: FastifyInstance) => {
  const methodsOf = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const methods = methodsOf.get(url) ?? new Set()
    for (const one of [method].flat()) methods.add(one)
    methodsOf.set(url, methods)
  })
  return (gateway: Gateway): void => {
    for (const [url, known] of [...methodsOf]) {
      // Also a name of a function: its other methods are those of /funcs/NAME.
      if (url === '/funcs/create') continue
      const allowed = [...known].join(', ')
      app.route({
        method: METHODS.filter((method) => !known.has(method)),
        url,
        handler: (request, reply) => {
          reply.header('Allow', allowed)
          const message = `${request.method} is not for this path; use ${allowed}`
          sendRefusal(gateway, new HyperError('METHOD_NOT_ALLOWED', message), request, reply)
        },
      })
    }
  }
}
