/** A history as a person reads it: virtual time, who, what. */

import type { Observation } from './history.ts'

const time = (ms: number): string => `${(ms / 1000).toFixed(3)} s`.padStart(14)

/** Ids without what is the same in all of them. */
const short = (text: string): string =>
  text
    .replace(/00000000-0000-4000-8000-0*/g, 'call-')
    .replace(/aaaaaaaa-0000-4000-8000-0*/g, 'id-')
    .replace(/cccccccc-0000-4000-8000-0*/g, 'container-')

const who = (one: Observation): string => {
  if ('agentId' in one) return one.agentId
  if ('coordinator' in one) return one.coordinator
  if ('op' in one) return `client ${one.op}`
  if ('container' in one) return one.container
  return one.type === 'fault' ? 'fault' : ''
}

const rest = (one: Observation): string => {
  if (one.type === 'fault') return one.what
  if (one.type === 'committed') {
    return one.rows.map(({ type, table, key }) => `${type} ${table} ${key}`).join(', ')
  }
  const { atMs: _atMs, type: _type, ...facts } = one
  return Object.entries(facts)
    .filter(([name]) => !['agentId', 'coordinator', 'container', 'op'].includes(name))
    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join(', ')
}

export const lineOf = (one: Observation): string =>
  short(`${time(one.atMs)}  ${who(one).padEnd(14)} ${one.type}: ${rest(one)}`)
