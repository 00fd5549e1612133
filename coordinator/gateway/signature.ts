/**
 * The original's signed requests, judged: `Authorization: HYPER-HMAC-SHA256 Credential=…,
 * SignedHeaders=…, Signature=…` with X-Hyper-Date and X-Hyper-Content-Sha256. Whoever signed must
 * have signed all that counts, a short while ago, with the secret of an account. Pure but for the
 * accounts, which are passed in; that the body has the digest that was signed is for auth.ts to see.
 */

import { timingSafeEqual } from 'node:crypto'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { SIGNATURE_SCHEME, signatureOf, signedHeaderNames } from '../../protocol/signature.ts'
import type { Account, Accounts } from '../ports.ts'

export interface RequestToJudge {
  readonly method: string
  /** As it came, with the version in its path. */
  readonly target: string
  /** Name, value, name, value …, as they came. */
  readonly rawHeaders: readonly string[]
}

export interface SignedBy {
  readonly account: Account
  /** SHA-256 that the body must have. */
  readonly bodyDigest: string
}

const AUTHORIZATION =
  /^HYPER-HMAC-SHA256\s+Credential=([^/,\s]+)\/(\d{8})\/([^/,\s]+)\/hyper\/hyper_request,\s*SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})$/
const STAMP = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/
const DIGEST = /^[0-9a-f]{64}$/

const unauthorized = (message: string): HyperError => new HyperError('UNAUTHORIZED', message)

export const isSignature = (authorization: string): boolean =>
  authorization.split(' ', 1)[0] === SIGNATURE_SCHEME

const pairsOf = (raw: readonly string[]): readonly (readonly [string, string])[] =>
  Array.from({ length: Math.floor(raw.length / 2) }, (_, index) => [
    raw[2 * index] ?? '',
    raw[2 * index + 1] ?? '',
  ])

/** The one value of a header; '' where it is missing or there are several. */
const only = (headers: ReturnType<typeof pairsOf>, wanted: string): string => {
  const values = headers.filter(([name]) => name.toLowerCase() === wanted)
  return values.length === 1 ? (values[0]?.[1] ?? '').trim() : ''
}

/** Throws where the date is not one, or not of now. */
const checkStamp = (stamp: string, day: string, nowMs: number): void => {
  const atMs = Date.parse(stamp.replace(STAMP, '$1-$2-$3T$4:$5:$6Z'))
  if (!STAMP.test(stamp) || Number.isNaN(atMs) || !stamp.startsWith(day)) {
    throw unauthorized(
      'X-Hyper-Date is not a date such as 20170316T070524Z, of the credential’s day',
    )
  }
  if (Math.abs(nowMs - atMs) > limits.signatureMs) {
    const minutes = limits.signatureMs / 60_000
    throw unauthorized(`X-Hyper-Date is more than ${minutes} minutes from this host’s clock`)
  }
}

const isSame = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))

/** Throws UNAUTHORIZED. A key that no account has is told as a wrong signature is. */
export const judgeSignature = (
  request: RequestToJudge,
  accounts: Pick<Accounts, 'byAccessKey'>,
  nowMs: number,
): SignedBy => {
  const headers = pairsOf(request.rawHeaders)
  const parts = AUTHORIZATION.exec(only(headers, 'authorization'))
  if (parts === null) {
    throw unauthorized(
      'the signature is not Credential=KEY/DAY/REGION/hyper/hyper_request, SignedHeaders=…, Signature=…',
    )
  }
  const [, accessKey = '', day = '', region = '', signedNames = '', signature = ''] = parts
  const stamp = only(headers, 'x-hyper-date')
  const bodyDigest = only(headers, 'x-hyper-content-sha256')
  checkStamp(stamp, day, nowMs)
  if (!DIGEST.test(bodyDigest)) {
    throw unauthorized('X-Hyper-Content-Sha256 is not the SHA-256 of the body')
  }
  const wanted = signedHeaderNames(headers)
  if (signedNames !== wanted) {
    throw unauthorized(`SignedHeaders must be ${wanted} for this request`)
  }
  const known = accounts.byAccessKey(accessKey)
  const { method, target } = request
  const expected = signatureOf(
    { method, target, headers, bodyDigest },
    { stamp, region },
    known?.secretKey ?? '',
  )
  if (known === null || !isSame(signature, expected)) {
    throw unauthorized('no account has signed this request so')
  }
  return { account: known.account, bodyDigest }
}
