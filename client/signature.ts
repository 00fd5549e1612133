/**
 * The original service's signed requests, for accounts known by access key and secret: the
 * canonical request of AWS Signature Version 4 under the names of HYPER-HMAC-SHA256. Only what
 * the management plane needs: a path, a query and a body that is in memory.
 */

import { createHash, createHmac } from 'node:crypto'

export interface AccessKeys {
  readonly accessKey: string
  readonly secretKey: string
}

const SCHEME = 'HYPER-HMAC-SHA256'
const REGION = 'local'

const sha256 = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex')
const hmac = (key: Uint8Array | string, text: string): Buffer =>
  createHmac('sha256', key).update(text).digest()

/** `20170316T070524Z` */
const stampOf = (now: Date): string => now.toISOString().replace(/[-:]|\.\d+/g, '')

const percent = (text: string): string =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  )

const canonicalQuery = (query: URLSearchParams): string =>
  [...query]
    .map(([name, value]) => `${percent(name)}=${percent(value)}`)
    .sort()
    .join('&')

const canonicalHost = (url: URL): string => url.host.replace(/:(80|443)$/, '')

/** The headers that sign a request. */
export const signRequest = (request: {
  readonly keys: AccessKeys
  readonly method: string
  readonly url: URL
  readonly contentType: string
  readonly body: Uint8Array
  readonly now: Date
}): Record<string, string> => {
  const { keys, method, url, contentType, body, now } = request
  const stamp = stampOf(now)
  const day = stamp.slice(0, 8)
  const digest = sha256(body)
  const signed: readonly (readonly [string, string])[] = [
    ...(contentType === '' ? [] : [['content-type', contentType] as const]),
    ['host', canonicalHost(url)],
    ['x-hyper-content-sha256', digest],
    ['x-hyper-date', stamp],
  ]
  const names = signed.map(([name]) => name).join(';')
  const canonical = [
    method,
    url.pathname.replace(/\/{2,}/g, '/'),
    canonicalQuery(url.searchParams),
    ...signed.map(([name, value]) => `${name}:${value}`),
    '',
    names,
    digest,
  ].join('\n')
  const scope = `${day}/${REGION}/hyper/hyper_request`
  const key = [REGION, 'hyper', 'hyper_request'].reduce<Buffer>(
    hmac,
    hmac(`HYPER${keys.secretKey}`, day),
  )
  const signature = hmac(key, [SCHEME, stamp, scope, sha256(canonical)].join('\n')).toString('hex')
  return {
    'X-Hyper-Date': stamp,
    'X-Hyper-Content-Sha256': digest,
    Authorization: `${SCHEME} Credential=${keys.accessKey}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  }
}
