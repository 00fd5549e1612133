/**
 * From an event to its effects: step() decides, its writes join the commit loop, and what others
 * are told is told after the commit, in order. The only place that calls step().
 *
 * `apply` returns at once; `settled` waits for the disk. The one exception to "write, then tell":
 * the assignment of a synchronous call may leave beside the write of its own acceptance, when all
 * before it is committed, and never for at-most-once (see One commit loop in ARCHITECTURE.md).
 */

import type { AttemptKey, Outcome } from '../protocol/call.ts'
import type { LogLine } from '../protocol/log-line.ts'
import type { Verdict } from '../protocol/messages.ts'
import type { Caches } from './caches.ts'
import type { CommitLoop } from './commit-loop.ts'
import type { Effect, Ledger, LedgerEvent, Now, Order, Terms } from './ledger/state.ts'
import { step } from './ledger/step.ts'
import type { Operation } from './store/store.ts'

/** What the rooms around the ledger do with what was decided. None of them may throw. */
interface Listeners {
  final(callId: string, attempt: number, outcome: Outcome, body: Uint8Array): void
  logged(funcId: string, line: LogLine): void
  assign(agentId: string, key: AttemptKey, terms: Terms, seq: number): void
  send(agentId: string, order: Order): void
  welcome(agentId: string, session: number, verdicts: Verdict[]): void
}

export interface Transactions {
  apply(event: LedgerEvent): void
  /** Writes beside the ledger (accounts, functions, members), in the same order of commits. */
  record(operations: readonly Operation[]): void
  /** The same; resolves when they are durable. Never rejects: a disk that refuses is waited for. */
  write(operations: readonly Operation[]): Promise<void>
  settled(): Promise<void>
}

interface Deps {
  readonly ledger: Ledger
  readonly caches: Caches
  readonly loop: CommitLoop
  readonly listeners: Listeners
  readonly nowMs: () => number
  /** RFC 3339 with milliseconds, UTC: for people only. */
  readonly wall: () => string
  /**
   * A decision failed half-way (an assertion, a bug): memory is not to be trusted any more. Ends
   * the process, which starts again from what is committed.
   */
  readonly onFault: (error: unknown) => void
}

export const createTransactions = (deps: Deps): Transactions => {
  const { ledger, caches, loop, listeners } = deps
  const now = (): Now => ({ ms: deps.nowMs(), wall: deps.wall() })

  /** The writes of an effect; what it tells is added to `afterwards`. */
  const writesOf = (effect: Effect, at: Now, afterwards: (() => void)[]): Operation[] => {
    switch (effect.type) {
      case 'write':
        return [effect.operation]
      case 'log': {
        const { line, operations } = caches.appendLog(
          effect.funcId,
          at.wall,
          effect.line,
          effect.end,
        )
        afterwards.push(() => listeners.logged(effect.funcId, line))
        return operations
      }
      case 'ended':
        return caches.addHistory(effect.row, effect.isOwed ? null : effect.body, at.ms)
      case 'keep-output':
        return caches.keepOutput(effect.row, effect.body, at.ms)
      case 'output-gone':
        return caches.dropOutput(effect.row, at.ms)
      default:
        afterwards.push(() => tell(effect))
        return []
    }
  }

  const tell = (effect: Effect): void => {
    if (effect.type === 'assign') {
      listeners.assign(effect.agentId, effect.key, effect.terms, effect.seq)
    } else if (effect.type === 'send') listeners.send(effect.agentId, effect.order)
    else if (effect.type === 'welcome') {
      listeners.welcome(effect.agentId, effect.session, effect.verdicts)
    } else if (effect.type === 'final') {
      listeners.final(effect.callId, effect.attempt, effect.outcome, effect.body)
    }
  }

  const transact = (event: LedgerEvent): void => {
    const at = now()
    const isEarlyAllowed =
      event.type === 'accept' && event.sync && !event.terms.atMostOnce && loop.isSettled()
    const effects = step(ledger, event, at)
    const afterwards: (() => void)[] = []
    const operations: Operation[] = []
    for (const effect of effects) {
      const isEarly = isEarlyAllowed && effect.type === 'assign' && effect.key.call === event.id
      if (isEarly) tell(effect)
      else operations.push(...writesOf(effect, at, afterwards))
    }
    if (event.type === 'tick') operations.push(...caches.expire(at.ms))
    if (operations.length === 0 && afterwards.length === 0) return
    loop.add(operations, () => {
      for (const act of afterwards) act()
    })
  }

  return {
    apply(event) {
      try {
        transact(event)
      } catch (error) {
        deps.onFault(error)
      }
    },
    record: (operations) => loop.add(operations, () => undefined),
    write: (operations) => new Promise((resolve) => loop.add(operations, resolve)),
    settled: () => loop.settled(),
  }
}
