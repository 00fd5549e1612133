/** One line of a function's log, as stored and as sent: the original's fields and our `Seq`. */

import Type, { type Static } from 'typebox'
import { limits } from './limits.ts'

export const LogLineSchema = Type.Object({
  Seq: Type.Integer({ minimum: 1 }),
  Time: Type.String(),
  Event: Type.Union([
    Type.Literal('CALL'),
    Type.Literal('PENDING'),
    Type.Literal('RUNNING'),
    Type.Literal('FINISHED'),
    Type.Literal('FAILED'),
  ]),
  CallId: Type.String(),
  ShortStdin: Type.String(),
  ShortStdout: Type.String(),
  ShortStderr: Type.String(),
  Message: Type.String(),
})
export type LogLine = Static<typeof LogLineSchema>

const utf8 = new TextDecoder('utf-8')

/** Bytes as text; what is not UTF-8 becomes U+FFFD. */
export const decodeText = (bytes: Uint8Array): string => utf8.decode(bytes)

/** The first 255 bytes as text. */
export const shortText = (bytes: Uint8Array): string =>
  decodeText(bytes.subarray(0, limits.shortBytesMax))
