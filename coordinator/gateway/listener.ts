/**
 * The HTTP server under the gateway: bounds on slow senders, strict parsing, its connections, and
 * how it ends. No timeout runs while an answer is waited for: that may take hours.
 *
 *   listening ─► closing (no new connections, idle ones closed, running answers end)
 *             ─► cut (after gatewayCloseMs: every socket destroyed)
 */

import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import https from 'node:https'
import {
  type AddressInfo,
  createServer as createSocketServer,
  type Server,
  type Socket,
} from 'node:net'
import { createSecureContext } from 'node:tls'
import { HyperError, messageOf } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { isLogUpgrade } from './logs.ts'
import { rawRefusal, SECURITY_HEADERS } from './refusal.ts'

export interface TlsKeys {
  readonly cert: string | Uint8Array
  readonly key: string | Uint8Array
}

export interface Listener {
  readonly server: http.Server
  listen(host: string, port: number): Promise<AddressInfo>
  /** Stops accepting; resolves when nothing is being answered any more, or after `timeoutMs`. */
  drain(timeoutMs: number): Promise<void>
  /** After `drain`: ends every connection, upgraded ones too. */
  cut(): Promise<void>
}

const OPTIONS = {
  maxHeaderSize: limits.headerBytesMax,
  headersTimeout: limits.headersMs,
  requestTimeout: limits.requestMs,
  connectionsCheckingInterval: limits.slowSenderCheckMs,
  keepAliveTimeout: limits.connectionIdleMs,
  keepAlive: true,
  keepAliveInitialDelay: limits.connectionProbeMs,
  noDelay: true,
  requireHostHeader: true,
  /** Any other Upgrade (h2c from curl, say) is not taken up: plain HTTP/1.1 answers it. */
  shouldUpgradeCallback: isLogUpgrade,
}

const pemOf = ({ cert, key }: TlsKeys) => ({ cert: Buffer.from(cert), key: Buffer.from(key) })

/** Throws BAD_PARAMETER where they are no certificate and its key. */
export const checkKeys = (tls: TlsKeys): void => {
  try {
    createSecureContext(pemOf(tls))
  } catch (error) {
    const what = `--tls-cert and --tls-key are no certificate and its key: ${messageOf(error)}`
    throw new HyperError('BAD_PARAMETER', what, { cause: error })
  }
}

const createServer = (handler: RequestListener, tls: TlsKeys | null): http.Server => {
  if (tls === null) return http.createServer(OPTIONS, handler)
  checkKeys(tls)
  const bounds = { minVersion: 'TLSv1.2', handshakeTimeout: limits.headersMs } as const
  return https.createServer({ ...OPTIONS, ...pemOf(tls), ...bounds }, handler)
}

/** What a parser error or a slow sender is told, where nothing else was said on the connection. */
const clientError = (code: string | undefined): HyperError => {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new HyperError(
      'HEADERS_TOO_LARGE',
      `the request's headers have more than ${limits.headerBytesMax} bytes`,
    )
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new HyperError('REQUEST_TOO_SLOW', 'the request took too long to arrive')
  }
  return new HyperError('BAD_PARAMETER', 'this is not a valid HTTP/1.1 request')
}

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** What is being answered now, by connection: pipelined requests are answered one by one. */
const createExchanges = (server: http.Server) => {
  const bySocket = new Map<Socket, Set<Exchange>>()
  let onQuiet = (): void => undefined
  const forget = (socket: Socket): void => {
    bySocket.delete(socket)
    if (bySocket.size === 0) onQuiet()
  }
  const exchangesOf = (socket: Socket): Set<Exchange> => {
    const known = bySocket.get(socket)
    if (known !== undefined) return known
    const exchanges = new Set<Exchange>()
    bySocket.set(socket, exchanges)
    return exchanges
  }
  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request
    const exchanges = exchangesOf(socket)
    const exchange = { request, response }
    exchanges.add(exchange)
    // Each can wait for hours and none has written yet, so nothing else would stop the sender.
    if (exchanges.size > limits.pipelinedRequestsMax) socket.destroy()
    response.once('close', () => {
      exchanges.delete(exchange)
      if (exchanges.size === 0) forget(socket)
    })
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value)
  })
  return {
    of: (socket: Socket): readonly Exchange[] => [...(bySocket.get(socket) ?? [])],
    /** In some versions a pipelined response that never got the socket does not close. */
    forget,
    waitForQuiet: async (timeoutMs: number): Promise<void> => {
      if (bySocket.size === 0) return
      const quiet = Promise.withResolvers<void>()
      onQuiet = quiet.resolve
      const timer = setTimeout(quiet.resolve, timeoutMs)
      await quiet.promise
      clearTimeout(timer)
    },
  }
}

const answerClientErrors = (
  server: http.Server,
  exchangesOf: (socket: Socket) => readonly Exchange[],
): void => {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    const running = exchangesOf(socket)
    // Only a request that is still arriving can be meant, and only one that is next in line.
    const isMeant = ({ request, response }: Exchange): boolean =>
      !request.complete && !response.headersSent
    const isHeard = socket.writable && error.code !== 'ECONNRESET'
    if (!isHeard || running.length > 1 || !running.every(isMeant)) {
      socket.destroy()
      return
    }
    socket.end(rawRefusal(clientError(error.code), undefined), () => socket.destroySoon())
  })
}

export const createListener = (
  handler: RequestListener,
  tls: TlsKeys | null,
  onError: (error: Error) => void,
): Listener => {
  const server = createServer(handler, tls)
  const exchanges = createExchanges(server)
  const sockets = new Set<Socket>()
  const track = (socket: Socket): void => {
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      exchanges.forget(socket)
    })
  }
  server.maxConnections = limits.gatewayConnectionsMax
  // Under TLS there are two a connection: the raw one, and the one requests know.
  server.on('connection', track).on('secureConnection', track)
  // Whoever reads the body says "continue" (see body.ts); until then it is an ordinary request.
  server.on('checkContinue', (request, response) => server.emit('request', request, response))
  answerClientErrors(server, exchanges.of)
  let closed: Promise<void> = Promise.resolve()
  return {
    server,
    listen: async (host, port) => {
      const address = await listen(server, host, port)
      // A connection that could not be accepted (no descriptor left) is no reason to stop.
      server.on('error', onError)
      closed = new Promise((resolve) => {
        server.once('close', resolve)
      })
      return address
    },
    drain: (timeoutMs) => {
      server.close()
      return exchanges.waitForQuiet(timeoutMs)
    },
    cut: async () => {
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Throws what listening there would. */
export const tryListening = async (host: string, port: number): Promise<void> => {
  const server = createSocketServer((socket) => socket.destroy())
  await listen(server, host, port)
  await new Promise((resolve) => server.close(resolve))
}

const listen = (server: Server, host: string, port: number): Promise<AddressInfo> =>
  new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      const code = error.code === 'EADDRINUSE' ? 'ADDRESS_IN_USE' : 'BAD_PARAMETER'
      const message = `the gateway cannot listen on ${host}:${port} (--listen): ${error.message}`
      reject(new HyperError(code, message, { cause: error }))
    }
    server.once('error', fail)
    server.listen({ host, port }, () => {
      server.off('error', fail)
      const address = server.address()
      if (address !== null && typeof address === 'object') resolve(address)
      else reject(new Error('the server has no address'))
    })
  })
