/**
 * Parsing at the border: what comes from HTTP, the mesh, disk, environment or engine is unknown
 * until a schema has read it. Inside, types are trusted.
 */

import Type, { type Static, type TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/schema'
import { type ErrorCode, HyperError } from './errors.ts'

/** A Uint8Array of at most `bytesMax` bytes. */
export const Bytes = (bytesMax: number) =>
  Type.Refine(
    Type.Unsafe<Uint8Array>({}),
    (value) => value instanceof Uint8Array && value.byteLength <= bytesMax,
    () => `must be at most ${bytesMax} bytes`,
  )

/**
 * A schema as a parser, compiled when it is first used: of all that a program declares it uses few
 * while it starts. The parser returns the value as it came (nothing is coerced,
 * no default filled in), or throws a HyperError of `code` that names the first wrong field.
 */
export const createParser = <S extends TSchema>(schema: S, code: ErrorCode, what: string) => {
  let validator: Validator | undefined
  return (value: unknown): Static<S> => {
    validator ??= Compile(schema)
    if (validator.Check(value)) return value as Static<S>
    const [, [first]] = validator.Errors(value)
    const path = first === undefined ? '' : first.instancePath.slice(1).replaceAll('/', '.')
    throw new HyperError(
      code,
      `${what}${path === '' ? '' : `: ${path}`} ${first?.message ?? 'is wrong'}`,
    )
  }
}
