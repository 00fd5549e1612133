/** Quantities as people write and read them: durations, sizes, counts, `k=v` and times. Pure. */

import { HyperError } from '../protocol/errors.ts'

const bad = (message: string): HyperError => new HyperError('BAD_PARAMETER', message)

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** `1h`, `30s`, `500ms`, `1h30m`; a plain number counts seconds. */
export const parseDurationMs = (text: string, what: string): number => {
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1000)
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) {
    throw bad(`${what}: not a duration: ${JSON.stringify(text)} (write 500ms, 30s, 5m or 1h30m)`)
  }
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)
  const sum = [...parts].reduce(
    (total, [, amount, unit]) => total + Number(amount) * (UNITS_MS[unit ?? ''] ?? 0),
    0,
  )
  return Math.round(sum)
}

/** A duration that the wire wants in whole seconds, at most `max` of them. */
export const parseSeconds = (text: string, what: string, max: number): number => {
  const ms = parseDurationMs(text, what)
  if (ms > max * 1000) throw bad(`${what}: ${text} is longer than ${max / 3600}h`)
  if (ms % 1000 !== 0) throw bad(`${what}: ${text} is not a whole number of seconds`)
  return ms / 1000
}

const BYTES: Readonly<Record<string, number>> = {
  '': 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
}

/** `512m`, `4g`, `1.5GiB`; a plain number counts bytes. Units are powers of 1024, as Docker's. */
export const parseBytes = (text: string, what: string): number => {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text)
  const bytes = Math.floor(Number(match?.[1]) * (BYTES[match?.[2]?.toLowerCase() ?? ''] ?? 0))
  if (match === null || bytes < 1) {
    throw bad(`${what}: not a size: ${JSON.stringify(text)} (write 512m or 4g)`)
  }
  return bytes
}

export const parseCount = (
  text: string,
  what: string,
  { min = 0, max = Number.MAX_SAFE_INTEGER }: { readonly min?: number; readonly max?: number } = {},
): number => {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(count) && count >= min && count <= max) return count
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
  throw bad(`${what}: ${JSON.stringify(text)} is not a whole number ${range}`)
}

/** `k=v` entries; the last of one name wins. */
export const parsePairs = (entries: readonly string[], what: string): Record<string, string> =>
  Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf('=')
      if (at < 1) throw bad(`${what}: not KEY=VALUE: ${JSON.stringify(entry)}`)
      return [entry.slice(0, at), entry.slice(at + 1)]
    }),
  )

export const formatBytes = (bytes: number): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1)
  const amount = bytes / 1024 ** power
  return `${amount >= 100 || power === 0 ? Math.round(amount) : Number(amount.toPrecision(3))}${units[power]}`
}

const STEPS: readonly (readonly [below: number, unit: number, name: string])[] = [
  [60, 1, 'second'],
  [3600, 60, 'minute'],
  [48 * 3600, 3600, 'hour'],
  [14 * 86_400, 86_400, 'day'],
  [60 * 86_400, 7 * 86_400, 'week'],
  [730 * 86_400, 30 * 86_400, 'month'],
]

/** `3 minutes ago`, in the words of docker's tables. */
export const formatAgo = (time: string | null, nowMs: number): string => {
  const seconds = time === null ? Number.NaN : Math.floor((nowMs - Date.parse(time)) / 1000)
  if (Number.isNaN(seconds)) return time === null ? 'never' : time
  if (seconds < 1) return 'Less than a second ago'
  const [, unit, name] = STEPS.find(([below]) => seconds < below) ?? [0, 365 * 86_400, 'year']
  const count = Math.floor(seconds / unit)
  if (count === 1 && name === 'minute') return 'About a minute ago'
  if (count === 1 && name === 'hour') return 'About an hour ago'
  return `${count} ${name}${count === 1 ? '' : 's'} ago`
}
