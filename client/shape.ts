/**
 * Reads the coordinator's JSON. Shapes are plain JSON Schema, compiled by `typebox/schema`: the
 * types come from the same text, and a client loads a third of what the type builder would cost.
 * Fields that a newer coordinator adds pass through; one that is missing or wrong is an error that
 * names it.
 */

import type { Static } from 'typebox'
import { Compile, type XSchema } from 'typebox/schema'
import { HyperError } from '../protocol/errors.ts'

export const createReader = <const S extends XSchema>(schema: S, what: string) => {
  const compile = () => Compile(schema)
  // Compiled at the first use: a command needs one or two of all the shapes.
  let validator: ReturnType<typeof compile> | undefined
  return (value: unknown): Static<S> => {
    validator ??= compile()
    if (validator.Check(value)) return value
    if (typeof value === 'string') {
      const message = `what answers there is no coordinator: its ${what} is no JSON`
      throw new HyperError('UNREACHABLE', message)
    }
    const [, [first]] = validator.Errors(value)
    const path = first === undefined ? '' : first.instancePath.slice(1).replaceAll('/', '.')
    throw new HyperError(
      'VERSION_MISMATCH',
      `the coordinator’s ${what} is not understood: ${path === '' ? 'it' : path} ${first?.message ?? 'is wrong'}`,
    )
  }
}

/** What is not JSON comes back as it is: no shape here is a string, so its reader knows. */
export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
