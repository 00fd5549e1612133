/**
 * The words of `client.json` in HYPER_HOME: for each name a coordinator's endpoint and an account's
 * token there, and which of them is the user's choice. The CLI and the coordinator beside it both
 * write it, with `writePrivateFile`; they change a copy of what they read just before.
 */

import type { Static } from 'typebox'
import { Compile } from 'typebox/schema'
import { HyperError, messageOf } from './errors.ts'

// Plain JSON Schema: the CLI reads this at nearly every command, and the type builder costs three
// times as much to load.
const shape = {
  type: 'object',
  required: ['current', 'contexts'],
  properties: {
    /** '' where none was chosen: then `default` counts, which the coordinator beside it writes. */
    current: { type: 'string' },
    contexts: {
      type: 'object',
      additionalProperties: {
        type: 'object',
        required: ['endpoint', 'token'],
        properties: { endpoint: { type: 'string' }, token: { type: 'string' } },
      },
    },
  },
} as const

export type ClientConfig = Static<typeof shape>
export type ClientContext = ClientConfig['contexts'][string]

export const NO_CONTEXTS: ClientConfig = { current: '', contexts: {} }

/** Throws BAD_PARAMETER, which says what is wrong; `path` names the file. */
export const parseClientConfig = (text: string, path: string): ClientConfig => {
  const bad = (why: string): HyperError =>
    new HyperError(
      'BAD_PARAMETER',
      `${path} is not a file of contexts (${why}); move it away and log in again`,
    )
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw bad(messageOf(error))
  }
  const validator = Compile(shape)
  if (validator.Check(value)) return value
  const [, [first]] = validator.Errors(value)
  throw bad(`${first?.instancePath ?? ''} ${first?.message ?? 'is wrong'}`.trim())
}

export const printClientConfig = (config: ClientConfig): string =>
  `${JSON.stringify(config, null, 2)}\n`
