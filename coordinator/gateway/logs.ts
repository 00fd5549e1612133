/**
 * GET /logs/NAME/UUID?callid=&follow=&tail=&since=: what there is of a function's log, and with
 * `follow` what comes, until the client goes away or the gateway closes. With `stderr` it is another
 * question (stderr.ts).
 *
 * The original client follows on the raw connection (`Connection: Upgrade`, `Upgrade: tcp`): it gets
 * 101, flushed in a write of its own, because it drops what arrives together with the head. Such a
 * request never reaches the routes; an Upgrade for anything else is not taken up.
 */

import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { ERRORS, HyperError, messageOf, toHyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { LogQuery } from '../ports.ts'
import { funcOfUrl, type Gateway } from './context.ts'
import { pumpLines, startLines } from './log-stream.ts'
import { type Query, readQuery } from './query.ts'
import { rawRefusal } from './refusal.ts'
import { sendStderr } from './stderr.ts'

type Address = { Params: { name: string; uuid: string } }

const ROUTE = '/logs/:name/:uuid'
const PATH = /^(?:\/v1\.[0-9]{1,3})?\/logs\/([^/?]+)\/([^/?]+)$/

const UPGRADED = [
  'HTTP/1.1 101 UPGRADED',
  'Content-Type: application/vnd.docker.raw-stream',
  'Connection: Upgrade',
  'Upgrade: tcp',
  '\r\n',
].join('\r\n')

const readLogQuery = (query: Query): LogQuery => ({
  callId: query.callId('callid'),
  since: query.count('since', 0, Number.MAX_SAFE_INTEGER) ?? 0,
  tail: query.text('tail') === 'all' ? null : query.count('tail', 0, Number.MAX_SAFE_INTEGER),
})

export const registerLogs = (app: FastifyInstance, gateway: Gateway): void => {
  const { logs } = gateway.ports

  app.get<Address>(ROUTE, async (request, reply) => {
    const stored = funcOfUrl(gateway, request.params)
    const query = readQuery(request.query)
    if (query.flag('stderr')) return sendStderr(gateway, stored, query, request, reply)
    const logQuery = readLogQuery(query)
    const isFollowing = query.flag('follow')
    const signal = AbortSignal.any([gateway.goneOf(request.raw.socket), gateway.closing])
    const lines = isFollowing
      ? logs.follow(stored.id, logQuery, signal)
      : await startLines(logs.read(stored.id, logQuery))
    reply.hijack()
    const response = reply.raw
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson' })
    response.flushHeaders()
    try {
      if (await pumpLines(lines, response)) response.end()
      else response.destroy()
    } catch (error) {
      endAfterError(gateway, signal, error, response)
    }
  })
}

/** A follower's stream ends whole when it was aborted; a failure must not look like its end. */
const endAfterError = (
  gateway: Gateway,
  signal: AbortSignal,
  error: unknown,
  output: { end: () => unknown; destroy: () => unknown },
): void => {
  if (signal.aborted) {
    output.end()
    return
  }
  // A reader that fell too far behind is its own fault, and resumes with `since`.
  const { fault } = ERRORS[toHyperError(error).code]
  if (fault === 'platform') gateway.log.error({ err: error }, 'reading a log failed')
  output.destroy()
}

const urlOf = (request: IncomingMessage): URL | null => {
  const text = request.url ?? ''
  return text.startsWith('/') && URL.canParse(text, 'http://gateway')
    ? new URL(text, 'http://gateway')
    : null
}

const queryOf = (url: URL): Query => readQuery(Object.fromEntries(url.searchParams))

/** Whether the request asks for a log on the raw connection. Anything else is plain HTTP. */
export const isLogUpgrade = (request: IncomingMessage): boolean => {
  if (request.method !== 'GET' || request.headers.upgrade?.toLowerCase() !== 'tcp') return false
  const url = urlOf(request)
  if (url === null || !PATH.test(url.pathname)) return false
  return /^(1|true)$/i.test(url.searchParams.get('follow') ?? '')
}

const addressOf = (url: URL): Address['Params'] => {
  const [, name = '', uuid = ''] = PATH.exec(url.pathname) ?? []
  try {
    return { name: decodeURIComponent(name), uuid: decodeURIComponent(uuid) }
  } catch (error) {
    throw new HyperError('BAD_PARAMETER', `not a path: ${messageOf(error)}`)
  }
}

const flush = (socket: Duplex, text: string): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.write(text, (error) => (error ? reject(error) : resolve()))
  })

/** Throws what is answered instead of a 101. */
const openLines = (gateway: Gateway, request: IncomingMessage, signal: AbortSignal) => {
  const url = urlOf(request)
  if (url === null || !isLogUpgrade(request)) {
    throw new HyperError('BAD_PARAMETER', 'only logs that are followed can be upgraded to')
  }
  const stored = funcOfUrl(gateway, addressOf(url))
  return gateway.ports.logs.follow(stored.id, readLogQuery(queryOf(url)), signal)
}

const followRaw = async (
  gateway: Gateway,
  request: IncomingMessage,
  socket: Duplex,
): Promise<number> => {
  const signal = AbortSignal.any([gateway.goneOf(request.socket), gateway.closing])
  let lines: ReturnType<typeof openLines>
  try {
    lines = openLines(gateway, request, signal)
  } catch (error) {
    const refusal = toHyperError(error)
    if (refusal.code === 'INTERNAL') gateway.log.error({ err: error }, 'request failed')
    socket.end(rawRefusal(refusal, request.headers.accept))
    return ERRORS[refusal.code].http
  }
  try {
    await flush(socket, UPGRADED)
    await pause(limits.upgradePauseMs, undefined, { signal })
    if (await pumpLines(lines, socket)) socket.end()
    else socket.destroy()
  } catch (error) {
    endAfterError(gateway, signal, error, socket)
  }
  return 101
}

/** Answers `upgrade` events; the sockets are the listener's to track and to end. */
export const handleUpgrades = (server: Server, gateway: Gateway): void => {
  server.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
    const destroy = (): void => {
      socket.destroy()
    }
    // What the client sends on the raw connection means nothing; its end is its going away.
    socket.on('error', destroy).on('end', destroy).resume()
    followRaw(gateway, request, socket).then(
      (status) => gateway.log.debug({ method: 'GET', route: ROUTE, status }, 'request'),
      (error: unknown) => {
        gateway.log.error({ err: error }, 'request failed')
        destroy()
      },
    )
  })
}
