/**
 * Request and configuration → the environment of a call, by the names of CGI (RFC 3875).
 *
 * Later ones win: headers as HTTP_<NAME>; REQUEST_METHOD, QUERY_STRING, CONTENT_TYPE and
 * CONTENT_LENGTH; the function's own Env. The image's Env comes before all of these and HYPER_*
 * after them; both are added later. Because of the prefix no header can set a variable of the
 * function's own, and HTTP_PROXY (which programs read as their proxy) is never set by one.
 */

import { HyperError } from './errors.ts'
import { limits } from './limits.ts'

export interface EnvironmentSource {
  readonly method: string
  /** Without the question mark, as it came. */
  readonly queryString: string
  /** As they came, in order: [name, value]. */
  readonly headers: readonly (readonly [string, string])[]
  readonly funcEnv: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  /** The image's Env: counts towards the bound, and is not part of the result. */
  readonly imageEnv?: readonly string[]
}

export interface CallEnvironment {
  /** NAME=value, each name once. */
  readonly environment: string[]
  /** What to say in the call's log: headers that were dropped. '' for nothing. */
  readonly note: string
}

/** Label by which a function asks for headers that are otherwise kept from it. */
const HEADERS_LABEL = 'hyper.headers'

const NAME = /^[A-Za-z0-9-]+$/
const NEVER_PASSED = new Set([
  'proxy',
  ...['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization'],
  ...['te', 'trailer', 'transfer-encoding', 'upgrade'],
])
const PASSED_IF_ASKED = new Set(['authorization', 'cookie'])
/** A note names so many headers, each cut to so many characters: it is one line of a log. */
const notedMax = 8
const notedCharsMax = 40

const wordsOf = (list: string): string[] => list.split(',').map((word) => word.trim().toLowerCase())

const bytesOf = (entries: Iterable<string>): number => {
  let bytes = 0
  for (const entry of entries) bytes += Buffer.byteLength(entry) + 1
  return bytes
}

const checkHeaderBytes = (headers: EnvironmentSource['headers']): void => {
  // As on the wire: a colon and a blank between, an end of line behind.
  const bytes = headers.reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value) + 4,
    0,
  )
  if (bytes <= limits.headerBytesMax) return
  throw new HyperError(
    'HEADERS_TOO_LARGE',
    `the request's headers have ${bytes} bytes, at most ${limits.headerBytesMax} are allowed`,
  )
}

const noteOf = (dropped: readonly string[]): string => {
  if (dropped.length === 0) return ''
  const named = dropped
    .slice(0, notedMax)
    .map((name) => JSON.stringify(name.slice(0, notedCharsMax)))
  const more = dropped.length > notedMax ? ` and ${dropped.length - notedMax} more` : ''
  return `dropped headers: ${named.join(', ')}${more}`
}

/** Sorts headers into HTTP_ variables (joined where they map to one name) and dropped ones. */
const mapHeaders = (source: EnvironmentSource) => {
  const asked = new Set(wordsOf(source.labels[HEADERS_LABEL] ?? ''))
  const hops = new Set(
    source.headers.flatMap(([name, value]) =>
      name.toLowerCase() === 'connection' ? wordsOf(value) : [],
    ),
  )
  const variables = new Map<string, string>()
  const dropped: string[] = []
  for (const [name, value] of source.headers) {
    const key = name.toLowerCase()
    if (!NAME.test(name) || value.includes('\0')) {
      dropped.push(name)
      continue
    }
    if (NEVER_PASSED.has(key) || hops.has(key)) continue
    if (PASSED_IF_ASKED.has(key) && !asked.has(key)) continue
    const variable = `HTTP_${name.toUpperCase().replaceAll('-', '_')}`
    const before = variables.get(variable)
    variables.set(variable, before === undefined ? value : `${before}, ${value}`)
  }
  return { variables, dropped }
}

/** Throws HEADERS_TOO_LARGE. */
export const buildEnvironment = (source: EnvironmentSource): CallEnvironment => {
  checkHeaderBytes(source.headers)
  const { variables, dropped } = mapHeaders(source)
  variables.set('REQUEST_METHOD', source.method)
  variables.set('QUERY_STRING', source.queryString)
  for (const name of ['CONTENT_TYPE', 'CONTENT_LENGTH']) {
    const value = variables.get(`HTTP_${name}`)
    if (value !== undefined) variables.set(name, value)
  }
  const entries = new Map([...variables].map(([name, value]) => [name, `${name}=${value}`]))
  for (const entry of source.funcEnv) {
    const [name = ''] = entry.split('=', 1)
    entries.set(name, entry)
  }
  const bytes = bytesOf(entries.values()) + bytesOf(source.imageEnv ?? [])
  if (bytes > limits.environmentBytesMax) {
    throw new HyperError(
      'HEADERS_TOO_LARGE',
      `the environment of the call has ${bytes} bytes, at most ${limits.environmentBytesMax} are allowed`,
    )
  }
  return { environment: [...entries.values()], note: noteOf(dropped) }
}
