/**
 * The rows on the coordinator's disk, beside those of the rooms that keep their own (accounts.ts,
 * funcs.ts, images.ts, membership.ts): their keys and schemas. Keys hold ids, never names; numbers
 * in keys are padded (tables.ts).
 *
 *   call/SEQ                 a call that is not final (call-row.ts)
 *   lease/CALL.N.EPOCH       a lease that stands
 *   history/FUNC/SEQ         what became of a call
 *   callid/CALL              where its history row is
 *   owed/CALL                its body is on the way to a synchronous client
 *   output/FUNC/SEQ          that its body is in the cache, its size, and when it came among them
 *   fetched/FUNC/SEQ         that body was delivered once, and goes a while after
 *   log/FUNC/LINE/…          a line of a function's log (log-key.ts)
 *   meta/…                   schema, epoch, sequence
 *
 * and of the bodies:
 *
 *   input/SEQ                payload and environment of a call that is not final
 *   stdout/FUNC/SEQ          the body of an ended call, while `output` has its row
 *   stderr/FUNC/SEQ          its STDERR, while its last line and its history row stand
 */

import * as cbor from '@ipld/dag-cbor'
import Type, { type Static } from 'typebox'
import { AttemptKeySchema, OutcomeSchema } from '../protocol/call.ts'
import { LogLineSchema } from '../protocol/log-line.ts'
import { createParser } from '../protocol/schema.ts'
import { numberKey } from './store/tables.ts'

const Count = Type.Integer({ minimum: 0 })

const InputSchema = Type.Object({
  payload: Type.Unsafe<Uint8Array>({}),
  environment: Type.Array(Type.String()),
})
/** What a call was given: its STDIN, and its whole environment without HYPER_*. */
export type Input = Readonly<Static<typeof InputSchema>>

const LeaseRowSchema = Type.Object({
  key: AttemptKeySchema,
  agentId: Type.String(),
  storeId: Type.String(),
  accountId: Type.String(),
  memoryBytes: Count,
  atMostOnce: Type.Boolean(),
})
export type LeaseRow = Static<typeof LeaseRowSchema>

/** What became of a call; never changed. Its body stands in `output` while the cache has it. */
const HistoryRowSchema = Type.Object({
  id: Type.String(),
  seq: Count,
  funcId: Type.String(),
  accountId: Type.String(),
  accepted: Type.String(),
  ended: Type.String(),
  attempt: Count,
  outcome: OutcomeSchema,
})
export type HistoryRow = Static<typeof HistoryRowSchema>

/** A body on its way to a synchronous client; the agent keeps it until it is delivered or written. */
const OwedRowSchema = Type.Object({
  funcId: Type.String(),
  seq: Count,
  key: AttemptKeySchema,
  agentId: Type.String(),
})

/** `order` grows with every body that enters the function's cache. */
const OutputRowSchema = Type.Object({ bytes: Count, order: Count })
export type OutputRow = Static<typeof OutputRowSchema>

const CallIdRowSchema = Type.Object({ funcId: Type.String(), seq: Count })

const damaged = <S extends Parameters<typeof createParser>[0]>(schema: S, what: string) =>
  createParser<S>(schema, 'STATE_DAMAGED', what)

export const parseLeaseRow = damaged(LeaseRowSchema, 'stored lease')
export const parseHistoryRow = damaged(HistoryRowSchema, 'stored history row')
export const parseOwedRow = damaged(OwedRowSchema, 'stored debt')
export const parseOutputRow = damaged(OutputRowSchema, 'stored output')
export const parseLogRow = damaged(LogLineSchema, 'stored log line')
export const parseCallIdRow = damaged(CallIdRowSchema, 'stored call id')

export const rowKey = (funcId: string, seq: number): string => `${funcId}/${numberKey(seq)}`

const parseInput = damaged(InputSchema, 'stored input')
export const encodeInput = ({ payload, environment }: Input): Uint8Array =>
  cbor.encode({ payload, environment })
/** Throws STATE_DAMAGED. */
export const decodeInput = (bytes: Uint8Array): Input => parseInput(cbor.decode(bytes))
