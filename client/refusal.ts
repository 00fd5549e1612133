/**
 * Turns an answer that says no into the HyperError that the coordinator meant. The code comes in
 * `X-Hyper-Error`; an answer without it (a proxy's, another server's) is judged by its status.
 */

import type { IncomingHttpHeaders } from 'node:http'
import { ERRORS, type ErrorCode, HyperError, isErrorCode } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'

const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  400: 'BAD_PARAMETER',
  401: 'UNAUTHORIZED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  410: 'OUTPUT_GONE',
  413: 'PAYLOAD_TOO_LARGE',
  422: 'BAD_PARAMETER',
  429: 'QUEUE_FULL',
  431: 'HEADERS_TOO_LARGE',
  503: 'STOPPING',
  504: 'CALL_TIMED_OUT',
  509: 'OUTPUT_TOO_LARGE',
}

export const headerOf = (headers: IncomingHttpHeaders, name: string): string => {
  const value = headers[name]
  return typeof value === 'string' ? value : ''
}

const lastSentenceEnd = /[.\s]+$/

/** Undoes `HyperError.line`: the next step is the code's, and would otherwise be said twice. */
export const errorFromLine = (code: ErrorCode, line: string): HyperError => {
  const text = line.trim()
  const { next } = ERRORS[code]
  const hasNext = next !== '' && text.endsWith(next)
  const message = hasNext ? text.slice(0, -next.length).replace(lastSentenceEnd, '') : text
  return new HyperError(code, message === '' ? 'the coordinator said no' : message)
}

export const refusalOf = (
  status: number,
  headers: IncomingHttpHeaders,
  text: string,
): HyperError => {
  const named = headerOf(headers, 'x-hyper-error')
  const code = isErrorCode(named) ? named : (BY_STATUS[status] ?? 'INTERNAL')
  if (text === '') return new HyperError(code, `the coordinator answered ${status}`)
  if (isErrorCode(named)) return errorFromLine(code, text)
  // What it says may be a page of its own.
  const told = text.trim().replace(/\s+/g, ' ').slice(0, limits.foreignAnswerCharsMax)
  return new HyperError(code, `what answers there is no coordinator; it says ${status}: ${told}`)
}
