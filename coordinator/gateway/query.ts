/** Query strings at the border: each parameter at most once, read by a schema, then by its kind. */

import Type from 'typebox'
import { isCallId } from '../../protocol/call.ts'
import { HyperError } from '../../protocol/errors.ts'
import { createParser } from '../../protocol/schema.ts'

const parseStrings = createParser(
  Type.Record(Type.String(), Type.String()),
  'BAD_PARAMETER',
  'query',
)

const bad = (name: string, wanted: string): HyperError =>
  new HyperError('BAD_PARAMETER', `query: ${name} must be ${wanted}`)

export interface Query {
  /** '' where it is absent: an empty parameter is no demand. */
  text(name: string): string
  flag(name: string): boolean
  /** Null where it is absent. */
  count(name: string, min: number, max: number): number | null
  callId(name: string): string | null
  /** Docker's filters: `{"name":["x"]}` or `{"name":{"x":true}}`. */
  filters(known: readonly string[]): ReadonlyMap<string, readonly string[]>
}

const parseFilters = createParser(
  Type.Record(
    Type.String(),
    Type.Union([Type.Array(Type.String()), Type.Record(Type.String(), Type.Boolean())]),
  ),
  'BAD_PARAMETER',
  'query: filters',
)

const readFilters = (text: string, known: readonly string[]) => {
  if (text === '') return new Map<string, readonly string[]>()
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw bad('filters', 'JSON')
  }
  const entries = Object.entries(parseFilters(value))
  const unknown = entries.find(([name]) => !known.includes(name))
  if (unknown !== undefined) {
    throw bad(
      'filters',
      `one of ${known.join(', ')}, not ${JSON.stringify(unknown[0].slice(0, 40))}`,
    )
  }
  return new Map(
    entries.map(([name, demand]) => [
      name,
      Array.isArray(demand) ? demand : Object.keys(demand).filter((key) => demand[key] === true),
    ]),
  )
}

export const readQuery = (query: unknown): Query => {
  const strings = parseStrings({ ...(typeof query === 'object' ? query : {}) })
  const text = (name: string): string => strings[name] ?? ''
  return {
    text,
    flag: (name) => {
      const value = text(name).toLowerCase()
      if (['1', 'true'].includes(value)) return true
      if (['', '0', 'false'].includes(value)) return false
      throw bad(name, '1 or 0')
    },
    count: (name, min, max) => {
      const value = text(name)
      if (value === '') return null
      const number = /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN
      if (number >= min && number <= max) return number
      throw bad(name, `a number from ${min} to ${max}`)
    },
    callId: (name) => {
      const value = text(name)
      if (value === '') return null
      if (!isCallId(value)) throw bad(name, 'a CallId')
      return value
    },
    filters: (known) => readFilters(text('filters'), known),
  }
}
