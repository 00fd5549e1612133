/**
 * The gateway: both planes of the HTTP API on one listener, in front of the ports.
 *
 * It puts the routes together, decides what every answer has in common (security headers, errors,
 * one log line a request, which names its route and never a secret of its URL), and owns the
 * listener. It knows nothing of queues, leases or stores.
 */

import { isIPv6 } from 'node:net'
import {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  type HTTPMethods,
} from 'fastify'
import type { Log } from '../../daemon/log.ts'
import { assert } from '../../protocol/assert.ts'
import { HyperError, toHyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Ports } from '../ports.ts'
import { authenticate, isLoopbackHost, refuseForeignPages } from './auth.ts'
import { createByteBudget } from './body.ts'
import { registerCalls } from './calls.ts'
import { createGoneSignals, cutIfStalled, type Gateway, stoppingError } from './context.ts'
import { registerFuncs } from './funcs.ts'
import { registerInfo, registerProbes } from './health.ts'
import { registerImages } from './images.ts'
import { createListener, type Listener, type TlsKeys } from './listener.ts'
import { handleUpgrades, registerLogs } from './logs.ts'
import { registerOperator } from './operator.ts'
import { registerOutput } from './output.ts'
import { sendRefusal } from './refusal.ts'

export interface GatewayOptions {
  readonly ports: Ports
  readonly listenHost: string
  /** 0 takes a free one. */
  readonly listenPort: number
  /** Allows plain HTTP off loopback. */
  readonly insecure: boolean
  /** PEM, read already; null for plain HTTP. */
  readonly tls: TlsKeys | null
  readonly log: Log
  readonly isStopping: () => boolean
}

export interface RunningGateway {
  readonly url: string
  readonly host: string
  readonly port: number
  /** Stops accepting, lets running answers end for a while, then cuts what is left. */
  close(closeMs?: number): Promise<void>
}

const VERSION_PREFIX = /^\/v1\.[0-9]{1,3}(?=\/)/
const METHODS: readonly HTTPMethods[] = [
  ...(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'] as const),
]

/** Fastify's own refusals (a URL that cannot be decoded) in our words. */
const fromFramework = (error: unknown): HyperError => {
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
const registerManners = (app: FastifyInstance, gateway: Gateway): void => {
  app.decorateRequest('account', null)
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

const registerPlanes = async (
  app: FastifyInstance,
  gateway: Gateway,
  isLoopbackListener: boolean,
): Promise<void> => {
  const guard = async (request: FastifyRequest): Promise<void> => {
    const { publicUrl } = gateway.ports.overview()
    refuseForeignPages(request.headers, isLoopbackListener, publicUrl)
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
    plane.addHook('onRequest', async (request) => {
      request.account = authenticate(gateway.ports.accounts, request.headers.authorization)
    })
    registerInfo(plane, gateway)
    registerFuncs(plane, gateway)
    registerImages(plane, gateway)
    await plane.register(async (operator) => registerOperator(operator, gateway))
  })
}

/** Answers 405 where a path exists and the method does not. Call it before any route is added. */
const collectMethods = (app: FastifyInstance) => {
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

const checkAddress = ({ listenHost, tls, insecure }: GatewayOptions): void => {
  if (tls !== null || insecure || isLoopbackHost(listenHost)) return
  throw new HyperError(
    'NOT_LOOPBACK',
    `${listenHost} can be reached from other hosts, and tokens would travel in the clear: it needs TLS`,
  )
}

const createApp = (
  gateway: () => Gateway,
  tls: TlsKeys | null,
): { readonly app: FastifyInstance; readonly listener: Listener } => {
  let listener: Listener | undefined
  const app = fastify({
    serverFactory: (handler) => {
      listener = createListener(handler, tls)
      return listener.server
    },
    // The listener's own, which knows what was already said on the connection.
    clientErrorHandler: () => undefined,
    frameworkErrors: (error, request, reply) => {
      sendRefusal(gateway(), fromFramework(error), request, reply)
    },
    rewriteUrl: (request) => (request.url ?? '/').replace(VERSION_PREFIX, ''),
    exposeHeadRoutes: false,
    return503OnClosing: false,
    // Longer than any URL can be: a long secret is as wrong as a short one.
    routerOptions: { maxParamLength: limits.headerBytesMax },
  })
  assert(listener !== undefined, 'fastify makes its server at once')
  return { app, listener }
}

/** Throws NOT_LOOPBACK, ADDRESS_IN_USE, or BAD_PARAMETER for what cannot be listened on. */
export const startGateway = async (options: GatewayOptions): Promise<RunningGateway> => {
  checkAddress(options)
  const { ports, log, isStopping, listenHost, listenPort, tls } = options
  const closing = new AbortController()
  const closed = new AbortController()
  const gateway: Gateway = {
    ports,
    log,
    isStopping: () => isStopping() || closing.signal.aborted,
    budget: createByteBudget(limits.bytesInFlightMax),
    closing: closing.signal,
    closed: closed.signal,
    goneOf: createGoneSignals(),
  }
  const { app, listener } = createApp(() => gateway, tls)
  const refuseOtherMethods = collectMethods(app)
  registerManners(app, gateway)
  await registerPlanes(app, gateway, isLoopbackHost(listenHost))
  refuseOtherMethods(gateway)
  handleUpgrades(listener.server, gateway)
  await app.ready()
  const host = listenHost.replace(/^\[(.*)\]$/, '$1')
  const { port } = await listener.listen(host, listenPort)

  const close = async (closeMs: number): Promise<void> => {
    closing.abort(stoppingError())
    await listener.drain(closeMs)
    // Whoever still waits is told to come again, and has a moment to hear it.
    closed.abort(stoppingError())
    await listener.drain(limits.gatewayFlushMs)
    await listener.cut()
    await app.close()
  }
  let closeOnce: Promise<void> | undefined
  return {
    url: `${tls === null ? 'http' : 'https'}://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    host,
    port,
    close: (closeMs = limits.gatewayCloseMs) => {
      closeOnce ??= close(closeMs)
      return closeOnce
    },
  }
}
