/**
 * What an agent knows of its attempts, and what follows from it: the room that is free, what a
 * hello and a heartbeat tell. Values and pure functions; how the state changes is in attempt.ts.
 */

import { type AttemptKey, attemptName } from '../protocol/call.ts'
import { limits } from '../protocol/limits.ts'
import type { Hello } from '../protocol/messages.ts'
import { freeOf, type Room } from './slots.ts'

export interface Attempt {
  readonly key: AttemptKey
  readonly memoryBytes: number
  readonly phase: 'starting' | 'running' | 'ended'
  /** A cancel waits for the word that the container is gone. */
  readonly owesGone: boolean
  /** The rest is false until it has ended. */
  readonly hasResult: boolean
  readonly isWritten: boolean
  readonly isAcknowledged: boolean
  /** Its container was to be removed before its result was written. */
  readonly isGoing: boolean
  readonly isRemoved: boolean
}

export interface AgentState {
  readonly room: Room
  /** By its own wish. */
  readonly draining: boolean
  /** By the coordinator's order, which says it anew in every session. */
  readonly isDrained: boolean
  /** Highest ever obeyed. */
  readonly epoch: number
  /** Null: no coordinator has welcomed us, or not any more. */
  readonly session: number | null
  readonly attempts: ReadonlyMap<string, Attempt>
  /** Names of attempts that are over, the newest last: none of them ever runs again. */
  readonly past: ReadonlySet<string>
}

export const FRESH = {
  owesGone: false,
  hasResult: false,
  isWritten: false,
  isAcknowledged: false,
  isGoing: false,
  isRemoved: false,
} as const

/** The state after a start: attempts that an earlier process of this agent left, and its outbox. */
export const initialState = (deps: {
  readonly room: Room
  readonly epoch: number
  readonly adopted: readonly { readonly key: AttemptKey; readonly memoryBytes: number }[]
  readonly outbox: readonly AttemptKey[]
}): AgentState => {
  const adopted = deps.adopted.map((attempt) => ({
    ...FRESH,
    ...attempt,
    phase: 'running' as const,
  }))
  // Containers of results that are written are swept, not awaited.
  const written = { hasResult: true, isWritten: true, isRemoved: true, phase: 'ended' as const }
  const outbox = deps.outbox.map((key) => ({ ...FRESH, ...written, key, memoryBytes: 0 }))
  return {
    room: deps.room,
    draining: false,
    isDrained: false,
    epoch: deps.epoch,
    session: null,
    past: new Set(),
    attempts: new Map(
      [...adopted, ...outbox].map((attempt) => [attemptName(attempt.key), attempt]),
    ),
  }
}

export const all = (state: AgentState): Attempt[] => [...state.attempts.values()]
export const isHeld = (attempt: Attempt): boolean => attempt.phase !== 'ended'
export const isUnacknowledged = (attempt: Attempt): boolean =>
  attempt.hasResult && !attempt.isAcknowledged
/** A container that is being killed counts as held until it is gone. */
const isDying = (attempt: Attempt): boolean =>
  attempt.phase === 'ended' && !attempt.hasResult && !attempt.isRemoved

export const freeRoom = (state: AgentState): Room =>
  freeOf(
    state.room,
    all(state)
      .filter((attempt) => isHeld(attempt) || isDying(attempt))
      .map((attempt) => attempt.memoryBytes),
  )

/** The attempt is over: it leaves the state but for its name, of which so many are kept. */
export const withoutAttempt = (state: AgentState, name: string): AgentState => {
  const attempts = new Map(state.attempts)
  attempts.delete(name)
  const past = new Set(state.past).add(name)
  const [oldest] = past
  if (past.size > limits.pastAttemptsMax && oldest !== undefined) past.delete(oldest)
  return { ...state, attempts, past }
}

/** What a hello tells of the attempts. */
export const reportOf = (state: AgentState): Pick<Hello, 'attempts' | 'outbox'> => ({
  attempts: all(state)
    .filter((attempt) => isHeld(attempt) || isDying(attempt))
    .map((attempt) => ({ key: attempt.key, running: attempt.phase === 'running' })),
  outbox: all(state)
    .filter(isUnacknowledged)
    .map((attempt) => attempt.key),
})

/**
 * Attempts whose leases a heartbeat renews. Not those whose results were reported: the coordinator
 * would hear of them again after it ended them.
 */
export const renewable = (state: AgentState): readonly AttemptKey[] =>
  all(state)
    .filter((attempt) => isHeld(attempt) || isDying(attempt))
    .map((attempt) => attempt.key)

/** Nothing runs, nothing is being written or removed. Results may wait for an acknowledgement. */
export const isQuiet = (state: AgentState): boolean =>
  all(state).every((attempt) => attempt.phase === 'ended' && attempt.isRemoved)
