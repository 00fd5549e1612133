/**
 * Calls and one log in memory, for tests of the gateway. Calls end when a test says so; what the
 * gateway said of their deliveries is kept in order.
 */

import { randomUUID } from 'node:crypto'
import type {
  CallRequest,
  CallView,
  FinalAnswer,
  LogQuery,
  Ports,
  StoredFunc,
} from '../../coordinator/ports.ts'
import { finalStateOf } from '../../protocol/call.ts'
import { ERRORS, type ErrorCode, HyperError } from '../../protocol/errors.ts'
import type { LogLine } from '../../protocol/log-line.ts'

const created = '2017-03-16T07:05:24.473Z'

export const logLine = (seq: number, text = ''): LogLine => ({
  Seq: seq,
  Time: created,
  Event: 'CALL',
  CallId: randomUUID(),
  ShortStdin: text,
  ShortStdout: '',
  ShortStderr: '',
  Message: '',
})

export const finalAnswer = (
  callId: string,
  code: ErrorCode,
  body: string | Uint8Array = '',
  exitCode: number | null = null,
): FinalAnswer => ({
  callId,
  attempt: 1,
  outcome: { state: finalStateOf(code), code, exitCode, message: '' },
  httpStatus: ERRORS[code].http,
  body: Buffer.from(body),
})

interface FakeCall {
  view: CallView
  answer: FinalAnswer | null
  readonly ended: PromiseWithResolvers<FinalAnswer>
}

/** Calls, and what the gateway said of their deliveries. */
export const createFakeCalls = (stored: StoredFunc) => {
  const calls = new Map<string, FakeCall>()
  const requests: CallRequest[] = []
  const deliveries: string[] = []
  const waited: string[] = []
  const found: string[] = []
  const stderrs = new Map<string, Uint8Array>()
  const add = (state: CallView['state'], position = 0): string => {
    const id = randomUUID()
    const view = { id, funcId: 'f1', state, created, position, message: null }
    calls.set(id, { view, answer: null, ended: Promise.withResolvers() })
    return id
  }
  const end = (answer: FinalAnswer): void => {
    const call = calls.get(answer.callId)
    if (call === undefined) throw new Error('no such call')
    call.view = { ...call.view, state: answer.outcome.state }
    call.answer = answer
    call.ended.resolve(answer)
  }
  const accept = (request: CallRequest): string => {
    requests.push(request)
    return add('pending')
  }
  const port: Ports['calls'] = {
    accept: async (request) => accept(request),
    acceptSync: (request) => {
      const callId = accept(request)
      const answer = calls.get(callId)?.ended.promise
      if (answer === undefined) throw new Error('no such call')
      return { callId, answer }
    },
    find: async (_funcId, callId) => {
      found.push(callId)
      return calls.get(callId)?.view ?? null
    },
    funcOf: async (_account, callId) => (calls.has(callId) ? stored : null),
    answer: async (_funcId, callId) => calls.get(callId)?.answer ?? null,
    waitForAnswer: (_funcId, callId, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        calls.get(callId)?.ended.promise.then((answer) => {
          waited.push(callId)
          resolve(answer)
        }, reject)
      }),
    stderr: async (_funcId, callId) => {
      const bytes = stderrs.get(callId)
      if (bytes === undefined) throw new HyperError('STDERR_GONE', 'it has rotated out')
      return bytes
    },
    delivered: (callId) => void deliveries.push(`delivered ${callId}`),
    undelivered: (callId) => void deliveries.push(`undelivered ${callId}`),
    cancel: async (_funcId, callId) => {
      const call = calls.get(callId)
      if (call === undefined) throw new HyperError('CALL_NOT_FOUND', 'no such call')
      if (call.answer !== null) throw new HyperError('CALL_FINAL', 'the call has ended')
      end(finalAnswer(callId, 'CALL_CANCELLED', 'cancelled'))
    },
    whyWaiting: () => null,
    counts: () => ({ pending: 1, running: 2, finished: 3, failed: 4 }),
    list: async (_funcId, limit) =>
      [...calls.keys()].slice(0, limit).map((callId) => ({
        callId,
        created,
        status: 'FINISHED',
        message: null,
      })),
  }
  return { port, add, end, requests, deliveries, waited, found, stderrs }
}

/** One log: what is in it, and a way to add a line that followers get. */
export const createFakeLogs = () => {
  const lines: LogLine[] = []
  const queries: LogQuery[] = []
  let followers = 0
  let changed = Promise.withResolvers<void>()
  const port: Ports['logs'] = {
    read: async function* (_funcId, query) {
      queries.push(query)
      const found = lines.filter((line) => line.Seq > query.since)
      yield* query.tail === null ? found : found.slice(-query.tail)
    },
    follow: async function* (_funcId, query, signal) {
      queries.push(query)
      const aborted = new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
      followers += 1
      try {
        for (let i = 0; !signal.aborted; ) {
          const line = lines[i]
          if (line !== undefined) {
            i += 1
            yield line
          } else await Promise.race([changed.promise, aborted])
        }
      } finally {
        followers -= 1
      }
    },
  }
  const add = (line: LogLine): void => {
    lines.push(line)
    changed.resolve()
    changed = Promise.withResolvers()
  }
  return { port, add, queries, followers: () => followers }
}
