/**
 * A result as it may leave the agent: within the schema that the coordinator reads it by. One that
 * is outside would end the channel, and be told again at every next one. Pure.
 */

import { Compile } from 'typebox/schema'
import { type AttemptResult, AttemptResultSchema } from '../protocol/call.ts'
import { limits } from '../protocol/limits.ts'
import { lostResult } from './classify.ts'

const schema = Compile(AttemptResultSchema)

const ELLIPSIS = '…'

/** Never cut within a character. */
const clipped = (text: string): string => {
  if (text.length <= limits.resultMessageCharsMax) return text.toWellFormed()
  return `${text.slice(0, limits.resultMessageCharsMax - ELLIPSIS.length).toWellFormed()}${ELLIPSIS}`
}

/** Its message is clipped. What is wrong otherwise is our fault, not the function's. */
export const settledResult = (result: AttemptResult): AttemptResult => {
  const settled = { ...result, message: clipped(result.message) }
  if (schema.Check(settled)) return settled
  const [, [first]] = schema.Errors(settled)
  const why = `${first?.instancePath.slice(1)} ${first?.message}`
  return lostResult(clipped(`its agent made no account of it that can be read: ${why}`))
}
