/**
 * Who may use the management plane: a request with an account's Bearer token, or signed with its
 * secret key (see signature.ts), that was not sent by a web page of somebody else.
 *
 * A page can reach a gateway on loopback by a name of its own that resolves to 127.0.0.1 (DNS
 * rebinding): there, only loopback names and the public URL's are taken in Host. Requests that a
 * browser says come from another site are refused wherever the gateway listens.
 */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { isLoopback } from '../../protocol/loopback.ts'
import { sha256 } from '../../protocol/signature.ts'
import type { Account } from '../ports.ts'
import { readBody } from './body.ts'
import type { Gateway } from './context.ts'
import { isSignature, judgeSignature } from './signature.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set on the management plane, before any handler runs. */
    account: Account | null
    /** The body of a signed request, which is read before any handler runs; null for any other. */
    signedBody: Uint8Array | null
  }
}

const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i

/** The name in a Host header, without port. '' for what is none. */
const hostNameOf = (host: string | undefined): string => {
  const url = `http://${host ?? ''}/`
  return URL.canParse(url) ? new URL(url).hostname : ''
}

/** Throws FOREIGN_ORIGIN for a request that a page of another site made a browser send. */
export const refuseForeignPages = (
  headers: FastifyRequest['headers'],
  isLoopbackListener: boolean,
  publicUrl: string,
): void => {
  const refuse = (message: string): never => {
    throw new HyperError('FOREIGN_ORIGIN', message)
  }
  const host = hostNameOf(headers.host)
  const publicHost = URL.canParse(publicUrl) ? new URL(publicUrl).hostname : ''
  if (isLoopbackListener && !isLoopback(host) && host !== publicHost) {
    refuse('this gateway is not known by the name in the Host header')
  }
  if (headers['sec-fetch-site'] === 'cross-site') refuse('a page of another site sent this request')
  const { origin } = headers
  if (origin === undefined) return
  const isOwn = URL.canParse(origin) && new URL(origin).host === headers.host?.toLowerCase()
  const isPublic =
    URL.canParse(origin) &&
    URL.canParse(publicUrl) &&
    new URL(origin).origin === new URL(publicUrl).origin
  if (!isOwn && !isPublic) refuse('a page of another origin sent this request')
}

const needsAccount = (): HyperError =>
  new HyperError('UNAUTHORIZED', 'this request needs an account’s token')

/** The signature is judged first: a stranger's body is not read. */
const authenticateSigned = async (
  gateway: Gateway,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> => {
  const { account, bodyDigest } = judgeSignature(
    {
      method: request.method,
      target: request.originalUrl,
      rawHeaders: request.raw.rawHeaders,
    },
    gateway.ports.accounts,
    Date.now(),
  )
  const bytesMax = limits.managementBodyBytesMax
  const { bytes, release } = await readBody(gateway, request, reply, bytesMax, 'BODY_TOO_LARGE')
  release()
  if (sha256(bytes) !== bodyDigest) {
    throw new HyperError('UNAUTHORIZED', 'the body is not the one that was signed')
  }
  request.account = account
  request.signedBody = bytes
}

/** Sets the request's account. Throws UNAUTHORIZED. */
export const authenticate = async (
  gateway: Gateway,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> => {
  const { authorization } = request.headers
  if (authorization === undefined) throw needsAccount()
  if (isSignature(authorization)) return authenticateSigned(gateway, request, reply)
  const [, token] = BEARER.exec(authorization) ?? []
  const account = token === undefined ? null : gateway.ports.accounts.byToken(token)
  if (account === null) throw new HyperError('UNAUTHORIZED', 'no account has this token')
  request.account = account
}

export const accountOf = (request: FastifyRequest): Account => {
  if (request.account !== null) return request.account
  throw needsAccount()
}

/** Throws FORBIDDEN for all but the operator's account. */
export const requireOperator = (request: FastifyRequest): void => {
  const account = accountOf(request)
  if (!account.operator) {
    throw new HyperError('FORBIDDEN', `account ${account.name} may not do this`)
  }
}
