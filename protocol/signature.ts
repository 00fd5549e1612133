/**
 * The original service's signed requests, as both sides compute them: the canonical request of AWS
 * Signature Version 4 under the names of HYPER-HMAC-SHA256. Pure. The client writes the headers
 * (client/signature.ts), the gateway reads and judges them (coordinator/gateway/signature.ts).
 *
 * Signed are method, path, query, the body's digest, and of the headers `content-type`,
 * `content-md5`, `host` and all `x-hyper-*` that are there.
 */

import { createHash, createHmac } from 'node:crypto'

export const SIGNATURE_SCHEME = 'HYPER-HMAC-SHA256'

export interface SignedRequest {
  readonly method: string
  /** Path and query as they are sent, from `/` on. */
  readonly target: string
  /** All of the request, in any order; those that are not to be signed are passed over. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** SHA-256 of the body, as X-Hyper-Content-Sha256 tells it. */
  readonly bodyDigest: string
}

/** What the key is bound to. */
export interface SignatureScope {
  /** X-Hyper-Date: `20170316T070524Z` */
  readonly stamp: string
  readonly region: string
}

export const sha256 = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex')

const hmac = (key: Uint8Array | string, text: string): Buffer =>
  createHmac('sha256', key).update(text).digest()

export const stampOf = (now: Date): string => now.toISOString().replace(/[-:]|\.\d+/g, '')

/** `20170316/local/hyper/hyper_request` */
export const scopeName = ({ stamp, region }: SignatureScope): string =>
  `${stamp.slice(0, 8)}/${region}/hyper/hyper_request`

const isSigned = (name: string): boolean =>
  ['content-type', 'content-md5', 'host'].includes(name) || name.startsWith('x-hyper-')

/** All but the unreserved characters of RFC 3986. */
const percent = (text: string): string =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  )

/** Decoded and encoded again: however a client wrote `:` or `~`, both sides mean the same. */
const canonicalPath = (path: string): string => {
  try {
    const decoded = decodeURIComponent(path).replace(/\/{2,}/g, '/')
    return decoded.split('/').map(percent).join('/')
  } catch {
    return path
  }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const canonicalQuery = (query: string): string =>
  [...new URLSearchParams(query)]
    .map(([name, value]) => [percent(name), percent(value)] as const)
    .sort(([a, x], [b, y]) => compare(a, b) || compare(x, y))
    .map((pair) => pair.join('='))
    .join('&')

const canonicalValue = (name: string, value: string): string => {
  const text = value.trim().replace(/ {2,}/g, ' ')
  return name === 'host' ? text.replace(/:(80|443)$/, '') : text
}

/** Name → value of the headers that are signed, by name. One that comes twice is joined. */
const canonicalHeaders = (headers: SignedRequest['headers']): ReadonlyMap<string, string> => {
  const values = new Map<string, string>()
  for (const [given, value] of headers) {
    const name = given.toLowerCase()
    if (!isSigned(name)) continue
    const text = canonicalValue(name, value)
    const former = values.get(name)
    values.set(name, former === undefined ? text : `${former},${text}`)
  }
  return new Map([...values].sort(([a], [b]) => compare(a, b)))
}

/** `content-type;host;x-hyper-content-sha256;x-hyper-date` */
export const signedHeaderNames = (headers: SignedRequest['headers']): string =>
  [...canonicalHeaders(headers).keys()].join(';')

const canonicalRequest = ({ method, target, headers, bodyDigest }: SignedRequest): string => {
  const [path = '', ...query] = target.split('?')
  const lines = [...canonicalHeaders(headers)].map(([name, value]) => `${name}:${value}`)
  return [
    method,
    canonicalPath(path),
    canonicalQuery(query.join('?')),
    ...lines,
    '',
    signedHeaderNames(headers),
    bodyDigest,
  ].join('\n')
}

/** The signature, in hexadecimal digits. */
export const signatureOf = (
  request: SignedRequest,
  scope: SignatureScope,
  secretKey: string,
): string => {
  const key = [scope.region, 'hyper', 'hyper_request'].reduce<Buffer>(
    hmac,
    hmac(`HYPER${secretKey}`, scope.stamp.slice(0, 8)),
  )
  const text = [
    SIGNATURE_SCHEME,
    scope.stamp,
    scopeName(scope),
    sha256(canonicalRequest(request)),
  ].join('\n')
  return hmac(key, text).toString('hex')
}
