/**
 * A function's log as a stream of lines. Followed, it survives a break of the connection: it is
 * asked for again after the last line that came, for a minute; then the break is thrown.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Static } from 'typebox'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { type FuncAddress, pathOf } from './calls.ts'
import { readJsonLines } from './lines.ts'
import { refusalOf } from './refusal.ts'
import { createReader } from './shape.ts'
import type { Transport } from './transport.ts'

const lineShape = {
  type: 'object',
  required: ['Time', 'Event', 'CallId'],
  properties: {
    Seq: { type: 'integer' },
    Time: { type: 'string' },
    Event: { type: 'string' },
    CallId: { type: 'string' },
    ShortStdin: { type: 'string' },
    ShortStdout: { type: 'string' },
    ShortStderr: { type: 'string' },
    Message: { type: 'string' },
  },
} as const
export type LogLine = Static<typeof lineShape>

const readLine = createReader(lineShape, 'line of a log')

export interface LogQuery {
  readonly callId?: string
  /** The last so many lines; absent: all. */
  readonly tail?: number
  /** Lines after this `Seq`. */
  readonly since?: number
  readonly follow?: boolean
  readonly signal?: AbortSignal
}

export type Logs = (func: FuncAddress, query?: LogQuery) => AsyncGenerator<LogLine>

const queryOf = (query: LogQuery): string => {
  const search = new URLSearchParams()
  if (query.callId !== undefined) search.set('callid', query.callId)
  if (query.follow === true) search.set('follow', '1')
  if (query.tail !== undefined) search.set('tail', String(query.tail))
  if (query.since !== undefined) search.set('since', String(query.since))
  return search.size === 0 ? '' : `?${search}`
}

export const createLogs = (transport: Transport): Logs => {
  async function* readOnce(
    func: FuncAddress,
    query: LogQuery,
    onOpen: () => void = () => undefined,
  ): AsyncGenerator<LogLine> {
    const answer = await transport.ask({
      method: 'GET',
      path: `${pathOf('logs', func)}${queryOf(query)}`,
      ...(query.signal === undefined ? {} : { signal: query.signal }),
    })
    if (answer.status !== 200) {
      throw refusalOf(answer.status, answer.headers, await transport.readText(answer.body))
    }
    onOpen()
    try {
      for await (const line of readJsonLines(answer.body)) yield readLine(line)
    } catch (error) {
      query.signal?.throwIfAborted()
      throw transport.brokenBy(error)
    }
  }

  async function* follow(func: FuncAddress, query: LogQuery): AsyncGenerator<LogLine> {
    let next = query
    /** When the stream was last known to be there; before that, a failure is the caller's. */
    let openedAt: number | undefined
    const onOpen = (): void => {
      openedAt = performance.now()
    }
    while (true) {
      try {
        for await (const line of readOnce(func, next, onOpen)) {
          onOpen()
          if (line.Seq !== undefined) {
            // After a break every line since the last one counts, however many there are.
            const { tail: _counted, ...rest } = next
            next = { ...rest, since: line.Seq }
          }
          yield line
        }
      } catch (error) {
        const isBreak = error instanceof HyperError && error.code === 'UNREACHABLE'
        const isLate = performance.now() - (openedAt ?? 0) > limits.followResumeMs
        if (!isBreak || openedAt === undefined || isLate) throw error
      }
      await pause(limits.followPauseMs, undefined, query.signal ? { signal: query.signal } : {})
    }
  }

  return (func, query = {}) => (query.follow === true ? follow(func, query) : readOnce(func, query))
}
