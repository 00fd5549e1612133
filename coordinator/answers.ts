/**
 * The way out of a call: who waits for its end, its final answer, and its delivery.
 *
 * A synchronous call's body is held here while it is on the way to its client, and for the grace
 * after it (the oldest go first where memory would not hold them); an asynchronous one's comes from
 * the cache. While slow clients leave no room for a further one, it is written to the cache like an
 * asynchronous one's, and its delivery is one from there. Nothing here is durable: what is owed at
 * a crash is still in the agent's outbox.
 */

import type { Outcome } from '../protocol/call.ts'
import { ERRORS, HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { Caches } from './caches.ts'
import type { Ledger, LedgerEvent } from './ledger/state.ts'
import type { FinalAnswer } from './ports.ts'
import { type HistoryRow, parseCallIdRow, parseHistoryRow, rowKey } from './rows.ts'
import type { Operation, Store } from './store/store.ts'

type Waiter = (answer: FinalAnswer) => void

export interface Answers {
  /** From the ledger, after the commit. */
  final(callId: string, attempt: number, outcome: Outcome, body: Uint8Array): void
  /** The history row of an ended call, else null. */
  historyOf(callId: string): Promise<HistoryRow | null>
  /** Its body is with an agent that has not told it again since our start. */
  isAway(callId: string): boolean
  /** The final answer of an ended call, else null; null as well while its body is away. */
  read(funcId: string, callId: string): Promise<FinalAnswer | null>
  /** Resolves at the end of a live call. Rejects with the signal's reason. */
  wait(callId: string, signal: AbortSignal | null): Promise<FinalAnswer>
  delivered(callId: string): void
  undelivered(callId: string): void
  expire(): void
}

interface Deps {
  readonly ledger: Ledger
  readonly caches: Caches
  readonly store: Pick<Store, 'get' | 'body'>
  readonly apply: (event: LedgerEvent) => void
  readonly record: (operations: readonly Operation[]) => void
  readonly settled: () => Promise<void>
  readonly nowMs: () => number
  /** A stored row cannot be read. */
  readonly onFault: (error: unknown) => void
}

const empty = new Uint8Array()

const httpStatusOf = (outcome: Outcome): number => {
  if (outcome.state === 'finished') return 200
  return outcome.code === 'CALL_TIMED_OUT' || outcome.code === 'OUTPUT_TOO_LARGE'
    ? ERRORS[outcome.code].http
    : 500
}

/** Also an empty body costs its place. */
const heldBytes = ({ body }: FinalAnswer): number =>
  Math.max(body.byteLength, limits.cacheEntryBytesMin)

/** Bodies on their way to synchronous clients. */
const createOwedAnswers = () => {
  const answers = new Map<string, FinalAnswer>()
  let bytes = 0
  return {
    get: (callId: string): FinalAnswer | undefined => answers.get(callId),
    /** False, and nothing held, where there is no room. */
    hold(answer: FinalAnswer): boolean {
      if (bytes + heldBytes(answer) > limits.owedBytesMax) return false
      answers.set(answer.callId, answer)
      bytes += heldBytes(answer)
      return true
    },
    take(callId: string): FinalAnswer | undefined {
      const answer = answers.get(callId)
      if (answer === undefined) return undefined
      answers.delete(callId)
      bytes -= heldBytes(answer)
      return answer
    },
  }
}

/** Bodies of synchronous calls after their delivery, for the grace. */
const createRecent = (nowMs: () => number) => {
  const recent = new Map<string, { answer: FinalAnswer; untilMs: number }>()
  let bytes = 0
  const drop = (callId: string): void => {
    const entry = recent.get(callId)
    if (entry === undefined) return
    recent.delete(callId)
    bytes -= heldBytes(entry.answer)
  }
  const expire = (): void => {
    for (const [callId, { untilMs }] of recent) {
      if (untilMs > nowMs() && bytes <= limits.recentBytesMax) return
      drop(callId)
    }
  }
  return {
    expire,
    get: (callId: string): FinalAnswer | undefined => recent.get(callId)?.answer,
    keep(answer: FinalAnswer): void {
      recent.set(answer.callId, { answer, untilMs: nowMs() + limits.deliveredGraceMs })
      bytes += heldBytes(answer)
      expire()
    },
  }
}

export const createAnswers = (deps: Deps): Answers => {
  const { ledger, caches, store, apply } = deps
  const waiters = new Map<string, Set<Waiter>>()
  const owedAnswers = createOwedAnswers()
  /** Synchronous clients that went away between the decision and its commit; told by `final`. */
  const abandoned = new Set<string>()
  const recent = createRecent(deps.nowMs)

  const historyOf = async (callId: string): Promise<HistoryRow | null> => {
    // An end that is decided but not yet written is about to be there.
    await deps.settled()
    const pointer = await store.get('callid', callId)
    if (pointer === undefined) return null
    const { funcId, seq } = parseCallIdRow(pointer)
    const row = await store.get('history', rowKey(funcId, seq))
    return row === undefined ? null : parseHistoryRow(row)
  }

  const readBody = async (row: HistoryRow): Promise<Uint8Array | null> => {
    if (!caches.hasOutput(row.funcId, row.seq)) return null
    // The books are ahead of the disk by one commit.
    await deps.settled()
    return (await store.body('stdout', rowKey(row.funcId, row.seq))) ?? null
  }

  const isAway = (callId: string): boolean => ledger.owed.get(callId)?.isInherited === true

  /** A mark that is lost in a crash costs a second delivery of the same body, never a wrong one. */
  const markDelivered = async (callId: string, atMs: number): Promise<void> => {
    const row = await historyOf(callId)
    if (row === null) return
    const operations = caches.markDelivered(row.funcId, row.seq, atMs)
    if (operations.length > 0) deps.record(operations)
  }

  /** It goes to the cache. */
  const abandon = ({ callId, body }: FinalAnswer): void =>
    apply({ type: 'undelivered', callId, body })

  return {
    historyOf,
    isAway,
    final(callId, attempt, outcome, body) {
      const answer: FinalAnswer = {
        callId,
        attempt,
        outcome,
        httpStatus: httpStatusOf(outcome),
        body,
      }
      const isAbandoned = abandoned.delete(callId)
      if (ledger.owed.has(callId) && (isAbandoned || !owedAnswers.hold(answer))) abandon(answer)
      const waiting = waiters.get(callId)
      waiters.delete(callId)
      for (const resolve of waiting ?? []) resolve(answer)
    },
    async read(funcId, callId) {
      const row = await historyOf(callId)
      if (row === null || row.funcId !== funcId || isAway(callId)) return null
      const held = owedAnswers.get(callId) ?? recent.get(callId)
      if (held !== undefined) return held
      const body = await readBody(row)
      const { attempt, outcome } = row
      if (body === null) return { callId, attempt, outcome, httpStatus: 410, body: empty }
      return { callId, attempt, outcome, httpStatus: httpStatusOf(outcome), body }
    },
    wait(callId, signal) {
      return new Promise((resolve, reject) => {
        const set = waiters.get(callId) ?? new Set()
        waiters.set(callId, set)
        const onAbort = (): void => {
          set.delete(onEnd)
          if (set.size === 0 && waiters.get(callId) === set) waiters.delete(callId)
          reject(signal?.reason ?? new HyperError('STOPPING', 'the wait was given up'))
        }
        const onEnd: Waiter = (answer) => {
          signal?.removeEventListener('abort', onAbort)
          resolve(answer)
        }
        set.add(onEnd)
        if (signal?.aborted) onAbort()
        else signal?.addEventListener('abort', onAbort, { once: true })
      })
    },
    delivered(callId) {
      const owed = owedAnswers.take(callId)
      if (owed !== undefined) {
        recent.keep(owed)
        apply({ type: 'delivered', callId })
        return
      }
      markDelivered(callId, deps.nowMs()).catch(deps.onFault)
    },
    undelivered(callId) {
      const owed = owedAnswers.take(callId)
      if (owed !== undefined) abandon(owed)
      else if (ledger.owed.has(callId)) abandoned.add(callId)
      else apply({ type: 'undelivered', callId, body: empty })
    },
    expire: () => recent.expire(),
  }
}
