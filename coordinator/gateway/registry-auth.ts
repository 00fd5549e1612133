/**
 * X-Registry-Auth: a client's credentials for one registry, base64 of JSON. Clients send both
 * alphabets, padded or not; engines want it padded. The value is never quoted in an error.
 */

import Type from 'typebox'
import { HyperError } from '../../protocol/errors.ts'
import { createParser } from '../../protocol/schema.ts'

const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/

const parseFields = createParser(
  Type.Record(Type.String(), Type.String()),
  'BAD_PARAMETER',
  'X-Registry-Auth',
)

/** Padded standard base64 of the same JSON; '' where there are no credentials in it. */
export const readRegistryAuth = (header: string | string[] | undefined): string => {
  const text = typeof header === 'string' ? header.trim() : ''
  if (text === '') return ''
  const wrong = (): HyperError =>
    new HyperError('BAD_PARAMETER', 'X-Registry-Auth is not the base64 of JSON')
  if (!BASE64.test(text)) throw wrong()
  const bytes = Buffer.from(text, 'base64')
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw wrong()
  }
  if (value === null) return ''
  const isEmpty = Object.values(parseFields(value)).every((field) => field === '')
  return isEmpty ? '' : bytes.toString('base64')
}
