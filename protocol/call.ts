/**
 * The words of a call: its states, how an attempt ends, how a call ends.
 *
 *   pending ─► leased ─► running ─► finished | failed | timedOut | cancelled
 *      ▲          │         │
 *      └──────────┴─────────┘  lease lost, attempts left
 *
 * An *attempt* is one execution in one container; its *result* is the agent's account of it. An
 * *outcome* is the one final state of the call. Which result becomes the outcome, and which one
 * leads to another attempt, is decided in coordinator/ledger/retry.ts.
 */

import Type, { type Static } from 'typebox'
import { ERRORS, type ErrorCode, isErrorCode } from './errors.ts'
import { limits } from './limits.ts'
import { Bytes, Count } from './schema.ts'

export type FinalState = 'finished' | 'failed' | 'timedOut' | 'cancelled'
export type CallState = 'pending' | 'leased' | 'running' | FinalState

const UUID = '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
const CallIdSchema = Type.String({ pattern: UUID })
export const isCallId = (text: string): boolean => new RegExp(UUID).test(text)

/** Names one attempt in the whole mesh. The epoch is that of the coordinator that granted it. */
export const AttemptKeySchema = Type.Object({
  call: CallIdSchema,
  attempt: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
  epoch: Count(),
})
export type AttemptKey = Static<typeof AttemptKeySchema>
export const attemptName = (key: AttemptKey): string => `${key.call}.${key.attempt}.${key.epoch}`

export const ErrorCodeSchema = Type.Refine(
  Type.Unsafe<ErrorCode>(Type.String()),
  (value) => typeof value === 'string' && isErrorCode(value),
  () => 'must be a code of the error table',
)

/** As 32 bits, with a sign or without. */
const ExitCode = Type.Integer({ minimum: -(2 ** 31), maximum: 2 ** 32 - 1 })

/** An agent's account of one attempt. */
export const AttemptResultSchema = Type.Object({
  /** FINISHED, or why not. Codes with fault `platform` are the platform's failures (see retry). */
  code: ErrorCodeSchema,
  /** False only where it is proven that the function's process never started. */
  started: Type.Boolean(),
  /** The function's own exit code; 128 + n for a signal n; null where there is none. */
  exitCode: Type.Union([ExitCode, Type.Null()]),
  /** One line for people; '' for FINISHED. */
  message: Type.String({ maxLength: limits.resultMessageCharsMax }),
  stdout: Bytes(limits.stdoutBytesMax),
  stderr: Bytes(limits.stderrBytesMax),
  /** Where the time went, for logs and benches; milliseconds. */
  startMs: Type.Number({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  runMs: Type.Number({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
})
export type AttemptResult = Static<typeof AttemptResultSchema>

/** The final state of a call, without its output. */
export const OutcomeSchema = Type.Object({
  state: Type.Union([
    Type.Literal('finished'),
    Type.Literal('failed'),
    Type.Literal('timedOut'),
    Type.Literal('cancelled'),
  ]),
  code: ErrorCodeSchema,
  exitCode: Type.Union([Type.Integer(), Type.Null()]),
  message: Type.String(),
})
export type Outcome = Static<typeof OutcomeSchema>

export const finalStateOf = (code: ErrorCode): FinalState => {
  if (code === 'FINISHED') return 'finished'
  if (code === 'CALL_TIMED_OUT') return 'timedOut'
  if (code === 'CALL_CANCELLED') return 'cancelled'
  return 'failed'
}

/** Whether an attempt that ended so is the platform's failure, which is retried for a while. */
export const isPlatformFailure = (code: ErrorCode): boolean => ERRORS[code].fault === 'platform'

/** The original's words for `/status` and its listing. */
export type CallStatus = 'PENDING' | 'RUNNING' | 'FINISHED' | 'FAILED'
export const statusOf = (state: CallState): CallStatus => {
  if (state === 'pending' || state === 'leased') return 'PENDING'
  if (state === 'running') return 'RUNNING'
  return state === 'finished' ? 'FINISHED' : 'FAILED'
}
