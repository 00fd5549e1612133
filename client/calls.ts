/**
 * Calls over the wire: make one, wait for it, fetch its output, cancel it, count them. A call's
 * URL is its credential, so nothing here sends a token.
 *
 * A final answer that is not FINISHED is no exception here: how a function ended is its own answer
 * (`state: 'failed'`). Thrown is what kept the question from being answered.
 */

import type { IncomingMessage } from 'node:http'
import type { Static } from 'typebox'
import { ERRORS, type ErrorCode, type HyperError, isErrorCode } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { errorFromLine, headerOf, refusalOf } from './refusal.ts'
import { createReader, parseJson } from './shape.ts'
import type { Answer, Body, Transport } from './transport.ts'

/** What names a function on the call plane. */
export interface FuncAddress {
  readonly Name: string
  readonly UUID: string
}

export interface CallOptions {
  /** STDIN of the call. A stream is sent as it comes; an array tells its length ahead. */
  readonly payload?: Body
  /** Become environment variables `HTTP_…` of the call. */
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

interface Ended {
  readonly callId: string
  readonly attempt: number
  readonly exitCode: number | null
}

/** Not ended yet. */
type Unfinished = { readonly state: 'running' | 'waiting'; readonly message: string }

/** `body` is STDERR, byte for byte; it must be read or destroyed. */
export type CallStderr = { readonly state: 'ended'; readonly body: IncomingMessage } | Unfinished

export type CallAnswer =
  /** `body` is STDOUT, byte for byte; it must be read or destroyed. */
  | (Ended & { readonly state: 'finished'; readonly body: IncomingMessage })
  | (Ended & { readonly state: 'failed'; readonly error: HyperError })
  | Unfinished

const callStatus = { enum: ['PENDING', 'RUNNING', 'FINISHED', 'FAILED'] } as const
const listedCall = {
  type: 'object',
  required: ['CallId', 'Created', 'Status'],
  properties: {
    CallId: { type: 'string' },
    Created: { type: 'string' },
    Status: callStatus,
    Message: { type: ['string', 'null'] },
  },
} as const
const statusShape = {
  type: 'object',
  required: ['Total', 'Pending', 'Running', 'Finished', 'Failed'],
  properties: {
    Total: { type: 'integer' },
    Pending: { type: 'integer' },
    Running: { type: 'integer' },
    Finished: { type: 'integer' },
    Failed: { type: 'integer' },
    /** Why the oldest call that waits does; absent where there is nothing to say. */
    Waiting: { type: 'string' },
    List: { type: 'array', items: listedCall },
  },
} as const
export type FuncStatus = Static<typeof statusShape>
export type ListedCall = Static<typeof listedCall>

const readStatus = createReader(statusShape, 'status of a function')
const readCallId = createReader(
  { type: 'object', required: ['CallId'], properties: { CallId: { type: 'string' } } },
  'answer to a call',
)

export interface Calls {
  /** Queues a call. It is durable once this resolves. */
  readonly start: (func: FuncAddress, options?: CallOptions) => Promise<string>
  /** Makes a call and waits for its end. */
  readonly run: (func: FuncAddress, options?: CallOptions) => Promise<CallAnswer>
  /** The call as it stands, or with `wait` its end, for hours if need be. */
  readonly output: (
    func: FuncAddress,
    callId: string,
    options?: { readonly wait?: boolean; readonly signal?: AbortSignal },
  ) => Promise<CallAnswer>
  /** All STDERR that was kept of a call that ended. */
  readonly stderr: (func: FuncAddress, callId: string) => Promise<CallStderr>
  readonly cancel: (func: FuncAddress, callId: string) => Promise<void>
  readonly status: (func: FuncAddress) => Promise<FuncStatus>
  /** Newest first; `before` goes on after a call. */
  readonly list: (
    func: FuncAddress,
    options?: { readonly limit?: number; readonly before?: string },
  ) => Promise<readonly ListedCall[]>
}

export const pathOf = (plane: string, func: FuncAddress, ...rest: readonly string[]): string =>
  ['', plane, func.Name, func.UUID, ...rest].map((part) => encodeURIComponent(part)).join('/')

const integerOf = (text: string): number | null => (/^-?\d+$/.test(text) ? Number(text) : null)

/** Why a call has no output, from the headers of its final answer. */
const failureOf = (answer: Answer, text: string): HyperError | null => {
  const reason = headerOf(answer.headers, 'x-hyper-reason')
  // 410 tells of the output, not of the call; an answer without a reason is not of a call at all.
  if (answer.status === 410 || !isErrorCode(reason) || reason === 'FINISHED') return null
  return errorFromLine(reason, text)
}

const unfinishedOf = ({ status }: Answer, text: string): Unfinished | null =>
  status === 201 || status === 202
    ? { state: status === 201 ? 'running' : 'waiting', message: text.trim() }
    : null

/** What a function answered by itself, as opposed to what happened to it. */
export const isOwnExit = (code: ErrorCode): boolean =>
  code === 'CALL_EXITED' || code === 'CALL_SIGNALLED'

/** The code that `docker run` would exit with. */
export const exitCodeOf = (
  answer: Exclude<CallAnswer, { state: 'running' | 'waiting' }>,
): number => {
  if (answer.state === 'finished') return 0
  const { code } = answer.error
  return isOwnExit(code) ? (answer.exitCode ?? ERRORS[code].exit) : ERRORS[code].exit
}

export const createCalls = (transport: Transport): Calls => {
  const read = async (answer: Answer): Promise<CallAnswer> => {
    const ended: Ended = {
      callId: headerOf(answer.headers, 'x-hyper-call-id'),
      attempt: integerOf(headerOf(answer.headers, 'x-hyper-attempt')) ?? 0,
      exitCode: integerOf(headerOf(answer.headers, 'x-hyper-exit-code')),
    }
    if (answer.status === 200) return { ...ended, state: 'finished', body: answer.body }
    const text = await transport.readText(answer.body)
    const unfinished = unfinishedOf(answer, text)
    if (unfinished !== null) return unfinished
    const error = failureOf(answer, text)
    if (error === null) throw refusalOf(answer.status, answer.headers, text)
    return { ...ended, state: 'failed', error }
  }

  const post = (path: string, options: CallOptions): Promise<Answer> => {
    const { payload, headers, signal } = options
    return transport.ask({
      method: 'POST',
      path,
      ...(headers === undefined ? {} : { headers }),
      body: payload ?? new Uint8Array(),
      ...(signal === undefined ? {} : { signal }),
    })
  }

  const askJson = async (path: string): Promise<unknown> => {
    const answer = await transport.ask({ method: 'GET', path, answerMs: limits.clientAnswerMs })
    const text = await transport.readText(answer.body)
    if (answer.status !== 200) throw refusalOf(answer.status, answer.headers, text)
    return parseJson(text)
  }

  return {
    start: async (func, options = {}) => {
      const answer = await post(pathOf('call', func), options)
      const text = await transport.readText(answer.body)
      if (answer.status !== 200) throw refusalOf(answer.status, answer.headers, text)
      return readCallId(parseJson(text)).CallId
    },
    run: async (func, options = {}) => read(await post(pathOf('call', func, 'sync'), options)),
    output: async (func, callId, { wait = false, signal } = {}) => {
      const path = pathOf('output', func, callId, ...(wait ? ['wait'] : []))
      return read(
        await transport.ask({
          method: 'GET',
          path,
          ...(wait ? {} : { answerMs: limits.clientAnswerMs }),
          ...(signal === undefined ? {} : { signal }),
        }),
      )
    },
    stderr: async (func, callId) => {
      const path = `${pathOf('logs', func)}?${new URLSearchParams({ callid: callId, stderr: '1' })}`
      const answer = await transport.ask({ method: 'GET', path, answerMs: limits.clientAnswerMs })
      if (answer.status === 200) return { state: 'ended', body: answer.body }
      const text = await transport.readText(answer.body)
      const unfinished = unfinishedOf(answer, text)
      if (unfinished !== null) return unfinished
      throw refusalOf(answer.status, answer.headers, text)
    },
    cancel: async (func, callId) => {
      const answer = await transport.ask({
        method: 'DELETE',
        path: pathOf('output', func, callId),
        answerMs: limits.clientAnswerMs,
      })
      const text = await transport.readText(answer.body)
      if (answer.status !== 202) throw refusalOf(answer.status, answer.headers, text)
    },
    status: async (func) => readStatus(await askJson(pathOf('status', func))),
    list: async (func, { limit = limits.listCallsMax, before } = {}) => {
      const query = new URLSearchParams({ list: '1', limit: String(limit) })
      if (before !== undefined) query.set('before', before)
      return readStatus(await askJson(`${pathOf('status', func)}?${query}`)).List ?? []
    },
  }
}
