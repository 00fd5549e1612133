/**
 * The daemons' log: JSON lines on stderr, pretty on a terminal. A message is a constant phrase;
 * what varies stands in fields. Never a payload, a token, or a call URL's uuid.
 */

import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

export type Log = Logger

export const createLog = (name: string, format: 'json' | 'pretty'): Log => {
  const options = { name, level: process.env.HYPER_LOG_LEVEL ?? 'info' }
  if (format === 'json') return pino(options, pino.destination({ dest: 2, sync: false }))
  return pino(
    options,
    pretty({ destination: 2, ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l' }),
  )
}
