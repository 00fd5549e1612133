/**
 * The headers that sign a request of an account known by access key and secret, as the original
 * service wants them. Only what the management plane needs: the body is in memory.
 */

import {
  SIGNATURE_SCHEME,
  scopeName,
  sha256,
  signatureOf,
  signedHeaderNames,
  stampOf,
} from '../protocol/signature.ts'

export interface AccessKeys {
  readonly accessKey: string
  readonly secretKey: string
}

/** The original's regions are data centres; there is one coordinator here. */
const REGION = 'local'

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
  const bodyDigest = sha256(body)
  const added = { 'X-Hyper-Date': stamp, 'X-Hyper-Content-Sha256': bodyDigest }
  const headers: [string, string][] = [['host', url.host], ...Object.entries(added)]
  if (contentType !== '') headers.push(['content-type', contentType])
  const scope = { stamp, region: REGION }
  const signature = signatureOf(
    { method, target: `${url.pathname}${url.search}`, headers, bodyDigest },
    scope,
    keys.secretKey,
  )
  const credential = `${keys.accessKey}/${scopeName(scope)}`
  return {
    ...added,
    Authorization: `${SIGNATURE_SCHEME} Credential=${credential}, SignedHeaders=${signedHeaderNames(headers)}, Signature=${signature}`,
  }
}
