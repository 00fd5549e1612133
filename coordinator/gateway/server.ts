/**
 * The gateway: both planes of the HTTP API on one listener, in front of the ports. It puts listener
 * and routes together, and ends them; it knows nothing of queues, leases or stores.
 *
 *   serving ─► closing (followers end, no new calls) ─► closed (those who wait are told) ─► cut
 */

import { isIPv6 } from 'node:net'
import { type FastifyInstance, fastify } from 'fastify'
import type { Log } from '../../daemon/log.ts'
import { assert } from '../../protocol/assert.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { isLoopback } from '../../protocol/loopback.ts'
import type { Ports } from '../ports.ts'
import { createByteBudget } from './body.ts'
import { createGoneSignals, type Gateway, stoppingError } from './context.ts'
import { createListener, type Listener, type TlsKeys } from './listener.ts'
import { handleUpgrades } from './logs.ts'
import { collectMethods, fromFramework, registerManners, registerPlanes } from './planes.ts'
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

/** Tokens do not travel in the clear between hosts. Throws NOT_LOOPBACK. */
export const checkExposure = ({
  listenHost,
  tls,
  insecure,
}: Pick<GatewayOptions, 'listenHost' | 'tls' | 'insecure'>): void => {
  if (tls !== null || insecure || isLoopback(listenHost)) return
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
      listener = createListener(handler, tls, (error) =>
        gateway().log.error({ err: error }, 'listener failed'),
      )
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
  checkExposure(options)
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
  await registerPlanes(app, gateway, isLoopback(listenHost))
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
