/**
 * The daemons' log: JSON lines on stderr, pretty on a terminal. A message is a constant phrase;
 * what varies stands in fields. Never a payload, a token, or a call URL's uuid.
 *
 * Lines are written asynchronously. A fatal one is written before `fatal` returns, with all that
 * waited before it, so that the process can exit at once; so is what waits when it exits.
 */

import { type Logger, pino } from 'pino'
import { prettyFactory } from 'pino-pretty'

export type Log = Logger

const STDERR = 2

/**
 * A line is made pretty while it is logged, and not by a stream of its own: what waits in such a
 * stream could not be written any more when the process ends.
 */
const prettyStderr = () => {
  const stderr = pino.destination({ dest: STDERR, sync: false })
  const prettify = prettyFactory({ ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l' })
  return {
    write: (line: string): void => void stderr.write(prettify(line)),
    /** Called by `fatal`. */
    flushSync: (): void => stderr.flushSync(),
  }
}

export const createLog = (name: string, format: 'json' | 'pretty'): Log => {
  const options = { name, level: process.env.HYPER_LOG_LEVEL ?? 'info' }
  if (format === 'json') return pino(options, pino.destination({ dest: STDERR, sync: false }))
  return pino(options, prettyStderr())
}
