/**
 * The coordinator's core: ledger, caches, commit loop, intake and answers, wired to each other over
 * a store. No mesh, no HTTP, no clock, no randomness of its own: what it needs of the world is
 * handed in (wiring.ts), so that a simulation runs the same core as the daemon.
 *
 * `load` fills it from the store, once, before anything else is asked of it.
 */

import type { Outcome } from '../protocol/call.ts'
import type { LogLine } from '../protocol/log-line.ts'
import type { Assignment, Verdict } from '../protocol/messages.ts'
import { createAnswers } from './answers.ts'
import { createCaches } from './caches.ts'
import { createCalls } from './call-view.ts'
import { createCommitLoop } from './commit-loop.ts'
import { createIntake } from './intake.ts'
import type { Order, Terms } from './ledger/state.ts'
import { createLedger } from './ledger/step.ts'
import { loadLedger } from './load.ts'
import type { OnLoss } from './losses.ts'
import type { StoredFunc } from './ports.ts'
import type { Store } from './store/store.ts'
import { createTransactions } from './transactions.ts'

/** What the core asks of the registered functions (funcs.ts). */
interface FuncLookup {
  byId(funcId: string): StoredFunc | null
  revision(funcId: string, revision: number): StoredFunc | null
  has(funcId: string): boolean
  terms(stored: StoredFunc): Terms
}

/** The way to the agents (roster.ts). None of these may throw. */
interface AgentWay {
  assign(agentId: string, assignment: Assignment): void
  send(agentId: string, order: Order): void
  welcome(agentId: string, session: number, verdicts: Verdict[]): void
}

export interface CoreDeps {
  readonly store: Store
  readonly epoch: number
  readonly nowMs: () => number
  readonly wall: () => string
  readonly newCallId: () => string
  readonly funcs: () => FuncLookup
  readonly agents: () => AgentWay
  /** Told after the commit. */
  readonly onLogged: (funcId: string, line: LogLine) => void
  readonly onEnded: (callId: string, attempt: number, outcome: Outcome, bodyBytes: number) => void
  readonly isStopping: () => boolean
  /** Ends the process: memory is not to be trusted any more. */
  readonly onFault: (error: unknown) => void
}

export const createCore = (deps: CoreDeps) => {
  const { store, epoch, nowMs, onFault } = deps
  const loop = createCommitLoop(store, onFault)
  const ledger = createLedger(epoch, nowMs())
  const caches = createCaches()
  const transactions = createTransactions({
    ...{ ledger, caches, loop, nowMs, onFault, wall: deps.wall },
    // These rooms need the ledger and are made below.
    listeners: {
      logged: deps.onLogged,
      final(callId, attempt, outcome, body) {
        intake.forget(callId)
        answers.final(callId, attempt, outcome, body)
        deps.onEnded(callId, attempt, outcome, body.byteLength)
      },
      assign: (agentId, key, terms, seq) => intake.assign(agentId, key, terms, seq),
      send: (agentId, order) => deps.agents().send(agentId, order),
      welcome: (agentId, session, verdicts) => deps.agents().welcome(agentId, session, verdicts),
    },
  })
  const { apply, record, settled } = transactions
  const answers = createAnswers({ ledger, caches, store, apply, record, settled, nowMs, onFault })
  const intake = createIntake({
    ...{ ledger, store, apply, isStopping: deps.isStopping, newCallId: deps.newCallId },
    byId: (funcId) => deps.funcs().byId(funcId),
    termsOf: (stored) => deps.funcs().terms(stored),
    revision: (funcId, revision) => deps.funcs().revision(funcId, revision),
    sendAssignment: (agentId, assignment) => deps.agents().assign(agentId, assignment),
  })
  const calls = createCalls({
    ...{ ledger, caches, store, intake, answers, apply, settled },
    byId: (funcId) => deps.funcs().byId(funcId),
  })
  const termsOf = (funcId: string, revision: number): Terms | null => {
    const stored = deps.funcs().revision(funcId, revision)
    return stored === null ? null : deps.funcs().terms(stored)
  }
  const hasFunc = (funcId: string): boolean => deps.funcs().has(funcId)
  return {
    ...{ ledger, caches, transactions, calls },
    /** Throws STATE_DAMAGED. */
    load: (
      accounts: Iterable<{ readonly id: string; readonly quota: number }>,
      onLoss?: OnLoss,
    ): Promise<void> =>
      loadLedger(store, ledger, caches, accounts, termsOf, nowMs(), hasFunc, onLoss),
    /** What time alone decides; called every `tickMs`. */
    tick(): void {
      apply({ type: 'tick' })
      answers.expire()
    },
    /** Writes what was decided, then takes no more. */
    close: () => loop.close(),
  }
}
