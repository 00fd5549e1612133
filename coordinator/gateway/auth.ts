/**
 * Who may use the management plane: a request with an account's Bearer token, that was not sent by
 * a web page of somebody else.
 *
 * A page can reach a gateway on loopback by a name of its own that resolves to 127.0.0.1 (DNS
 * rebinding): there, only loopback names and the public URL's are taken in Host. Requests that a
 * browser says come from another site are refused wherever the gateway listens.
 */

import { isIPv4 } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { HyperError } from '../../protocol/errors.ts'
import type { Account, Accounts } from '../ports.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set on the management plane, before any handler runs. */
    account: Account | null
  }
}

const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i

export const isLoopbackHost = (host: string): boolean => {
  const name = host.replace(/^\[(.*)\]$/, '$1').toLowerCase()
  return name === 'localhost' || name === '::1' || (isIPv4(name) && name.startsWith('127.'))
}

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
  if (isLoopbackListener && !isLoopbackHost(host) && host !== publicHost) {
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

/** Throws UNAUTHORIZED. */
export const authenticate = (accounts: Accounts, authorization: string | undefined): Account => {
  if (authorization === undefined) {
    throw new HyperError('UNAUTHORIZED', 'this request needs an account’s token')
  }
  const [, token] = BEARER.exec(authorization) ?? []
  const account = token === undefined ? null : accounts.byToken(token)
  if (account === null) throw new HyperError('UNAUTHORIZED', 'no account has this token')
  return account
}

export const accountOf = (request: FastifyRequest): Account => {
  if (request.account !== null) return request.account
  throw new HyperError('UNAUTHORIZED', 'this request needs an account’s token')
}

/** Throws FORBIDDEN for all but the operator's account. */
export const requireOperator = (request: FastifyRequest): void => {
  const account = accountOf(request)
  if (!account.operator) {
    throw new HyperError('FORBIDDEN', `account ${account.name} may not do this`)
  }
}
