/**
 * The row of a call that is not final: call/SEQ, SEQ being its number. A million of them are read at
 * a start, so a row is a tuple, and one that nothing has happened to has five fields:
 *
 *   [id, function, revision, accepted (ms by the wall clock), payload bytes]
 *   [… the same five, [[attempt, epoch, agent, is lost] …], last attempt, attempts lost,
 *    exit retries, ms the platform failed it, ms of its last pause, ms that queueTimeout counted]
 */

import Type from 'typebox'
import { createParser } from '../protocol/schema.ts'

/** What its attempts and its time in the queue came to. */
export interface Trials {
  readonly granted: readonly {
    readonly attempt: number
    readonly epoch: number
    readonly agentId: string
    readonly isLost: boolean
  }[]
  readonly lastAttempt: number
  readonly attemptsLost: number
  readonly exitRetries: number
  readonly failedForMs: number
  readonly pauseMs: number
  readonly waitedMs: number
}

export interface CallRow {
  readonly id: string
  readonly funcId: string
  readonly revision: number
  readonly acceptedMs: number
  readonly payloadBytes: number
  /** Null where nothing has happened to it yet. */
  readonly trials: Trials | null
}

const Count = Type.Integer({ minimum: 0 })
const Text = Type.String()
const GrantsSchema = Type.Array(Type.Tuple([Count, Count, Text, Type.Boolean()]))
const FreshSchema = Type.Tuple([Text, Text, Count, Count, Count])
// biome-ignore format: the tuple as the comment above has it
const TriedSchema = Type.Tuple([
  Text, Text, Count, Count, Count,
  GrantsSchema, Count, Count, Count, Count, Count, Count,
])

const FRESH_FIELDS = 5

const parseFresh = createParser(FreshSchema, 'STATE_DAMAGED', 'stored call')
const parseTried = createParser(TriedSchema, 'STATE_DAMAGED', 'stored call')

export const encodeCallRow = (row: CallRow): unknown => {
  const { id, funcId, revision, acceptedMs, payloadBytes, trials } = row
  const head = [id, funcId, revision, acceptedMs, payloadBytes]
  if (trials === null) return head
  const { granted, lastAttempt, attemptsLost, exitRetries } = trials
  return [
    ...head,
    granted.map((grant) => [grant.attempt, grant.epoch, grant.agentId, grant.isLost]),
    ...[lastAttempt, attemptsLost, exitRetries],
    ...[trials.failedForMs, trials.pauseMs, trials.waitedMs].map(Math.round),
  ]
}

const fromTried = (value: unknown): CallRow => {
  const [id, funcId, revision, acceptedMs, payloadBytes, grants, ...counts] = parseTried(value)
  const [lastAttempt, attemptsLost, exitRetries, failedForMs, pauseMs, waitedMs] = counts
  const granted = grants.map(([attempt, epoch, agentId, isLost]) => ({
    ...{ attempt, epoch, agentId, isLost },
  }))
  const trials = {
    ...{ granted, lastAttempt, attemptsLost, exitRetries, failedForMs, pauseMs, waitedMs },
  }
  return { id, funcId, revision, acceptedMs, payloadBytes, trials }
}

/** Throws STATE_DAMAGED. */
export const parseCallRow = (value: unknown): CallRow => {
  if (Array.isArray(value) && value.length > FRESH_FIELDS) return fromTried(value)
  const [id, funcId, revision, acceptedMs, payloadBytes] = parseFresh(value)
  return { id, funcId, revision, acceptedMs, payloadBytes, trials: null }
}
