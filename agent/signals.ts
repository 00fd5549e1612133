/** Numbers and names of Linux signals, as Docker's StopSignal and messages for people write them. */

import { constants } from 'node:os'

const SIGNAL_MAX = 64
const RTMIN = 34
const RTMAX = 64

const numbers: ReadonlyMap<string, number> = new Map(Object.entries(constants.signals))

/** `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. Null for what is no signal. */
export const signalNumber = (text: string): number | null => {
  const name = text.trim().toUpperCase().replace(/^SIG/, '')
  if (/^[0-9]+$/.test(name)) {
    const number = Number(name)
    return number >= 1 && number <= SIGNAL_MAX ? number : null
  }
  const realTime = /^RT(MIN|MAX)(?:([+-])([0-9]{1,2}))?$/.exec(name)
  if (realTime !== null) {
    const [, end, sign, offset = '0'] = realTime
    const base = end === 'MIN' ? RTMIN : RTMAX
    const number = sign === '-' ? base - Number(offset) : base + Number(offset)
    return number >= RTMIN && number <= RTMAX ? number : null
  }
  return numbers.get(`SIG${name}`) ?? null
}

/** The first name of a number, `signal 35` where there is none. */
export const signalName = (number: number): string => {
  for (const [name, value] of numbers) if (value === number) return name
  return `signal ${number}`
}
