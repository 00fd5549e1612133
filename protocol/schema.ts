/**
 * Parsing at the border: what comes from HTTP, the mesh, disk, environment or engine is unknown
 * until a schema has read it. Inside, types are trusted.
 */

import Type, { type Static, type TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/schema'
import { type ErrorCode, HyperError } from './errors.ts'

/** Of a value whose first wrong field is named: a few milliseconds. */
const PARTS_MAX = 2000

/** A Uint8Array of at most `bytesMax` bytes. */
export const Bytes = (bytesMax: number) =>
  Type.Refine(
    Type.Unsafe<Uint8Array>({}),
    (value) => value instanceof Uint8Array && value.byteLength <= bytesMax,
    () => `must be at most ${bytesMax} bytes`,
  )

/** 0 to the largest that a number holds exactly: 1e300 is an integer as well. */
export const Count = (maximum: number = Number.MAX_SAFE_INTEGER) =>
  Type.Integer({ minimum: 0, maximum })

/** Whether a value has more parts than it takes to find its first wrong field quickly. */
const isLarge = (value: unknown): boolean => {
  let left = PARTS_MAX
  const count = (part: unknown): void => {
    left -= 1
    if (left < 0 || typeof part !== 'object' || part === null || part instanceof Uint8Array) return
    for (const inner of Array.isArray(part) ? part : Object.values(part)) {
      if (left < 0) return
      count(inner)
    }
  }
  count(value)
  return left < 0
}

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
    // The search for errors goes on after the first: three seconds for a million wrong items.
    if (isLarge(value)) throw new HyperError(code, `${what} is wrong`)
    const [, [first]] = validator.Errors(value)
    const path = first === undefined ? '' : first.instancePath.slice(1).replaceAll('/', '.')
    throw new HyperError(
      code,
      `${what}${path === '' ? '' : `: ${path}`} ${first?.message ?? 'is wrong'}`,
    )
  }
}
