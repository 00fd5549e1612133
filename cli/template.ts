/**
 * The part of Go's templates that `-f` of docker is used for: text with `{{.Field.Sub}}`,
 * `{{json .Field}}` and `{{.}}`. Anything else in braces is refused, not printed as it stands.
 */

import { HyperError } from '../protocol/errors.ts'

const bad = (action: string, why: string): HyperError =>
  new HyperError('BAD_PARAMETER', `template {{${action}}}: ${why}`)

const lookUp = (value: unknown, path: string, action: string): unknown => {
  let found = value
  for (const field of path.split('.').filter((part) => part !== '')) {
    const isKnown = typeof found === 'object' && found !== null && Object.hasOwn(found, field)
    if (!isKnown) throw bad(action, `there is no field ${field}`)
    found = Reflect.get(Object(found), field)
  }
  return found
}

/** Go's `<no value>` for null, its `[a b]` for lists; what is deeper is JSON. */
const show = (value: unknown): string => {
  if (value === null || value === undefined) return '<no value>'
  if (Array.isArray(value)) return `[${value.map(show).join(' ')}]`
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

export const fillTemplate = (template: string, value: unknown): string =>
  template.replace(/\{\{(.*?)\}\}/gs, (_all, action: string) => {
    const match = /^\s*(json\s+)?(\.[\w.-]*)\s*$/.exec(action)
    if (match === null) throw bad(action, 'write {{.Field.Sub}} or {{json .Field}}')
    const found = lookUp(value, match[2] ?? '', action)
    return match[1] === undefined ? show(found) : JSON.stringify(found)
  })
