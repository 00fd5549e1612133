/**
 * The rooms behind gateway and mesh, wired to each other: store, ledger, caches, books, roster.
 * Opened from the disk, with the epoch raised; `close` gives everything back.
 */

import { createClock } from '../daemon/clock.ts'
import type { Log } from '../daemon/log.ts'
import type { CoordinatorConfig } from '../protocol/daemon.ts'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { VERSION } from '../protocol/version.ts'
import { loadAccounts } from './accounts.ts'
import { createAnswers } from './answers.ts'
import { createCaches } from './caches.ts'
import { createCalls } from './call-view.ts'
import { createCommitLoop } from './commit-loop.ts'
import { loadFuncs } from './funcs.ts'
import { loadImages } from './images.ts'
import { createIntake } from './intake.ts'
import { pickAgentForPull } from './ledger/placement.ts'
import { rememberAgent } from './ledger/sessions.ts'
import { addAccount, createLedger } from './ledger/step.ts'
import { loadLedger, raiseEpoch } from './load.ts'
import { createLogs } from './logs.ts'
import { loadMembership } from './membership.ts'
import { createRoster } from './roster.ts'
import { openStore, type Store } from './store.ts'
import { createTransactions } from './transactions.ts'

/** The rooms behind the gateway, wired to each other. Throws STATE_IN_USE, STATE_DAMAGED … */
export const openRooms = async (config: CoordinatorConfig, log: Log, isStopping: () => boolean) => {
  const store = await openStore(config.home)
  try {
    return await furnish(store, log, isStopping)
  } catch (error) {
    await store.close()
    throw error
  }
}

/**
 * What memory says and the disk does not is told to nobody, and what a decision left half done is
 * trusted by nobody: the process ends, and starts again from what is committed.
 */
const crash = (log: Log, error: unknown): never => {
  log.fatal({ err: error }, 'stopped by a fault')
  process.exit(70)
}

const furnish = async (store: Store, log: Log, isStopping: () => boolean) => {
  const onFault = (error: unknown): never => crash(log, error)
  const clock = createClock()
  await clock.refresh()
  const nowMs = clock.nowMs
  const epoch = await raiseEpoch(store, Date.now())
  const loop = createCommitLoop(store, onFault)
  const ledger = createLedger(epoch, nowMs())
  const caches = createCaches()
  const logs = createLogs(store)
  // The ledger's listeners are rooms that need the ledger: they are filled in below.
  const transactions = createTransactions({
    ledger,
    caches,
    loop,
    nowMs,
    onFault,
    listeners: {
      logged: logs.logged,
      final(callId, attempt, outcome, body) {
        intake.forget(callId)
        answers.final(callId, attempt, outcome, body)
        const { code, exitCode } = outcome
        log.info(
          { call: callId, attempt, reason: code, exit: exitCode, bytesOut: body.byteLength },
          'call ended',
        )
      },
      assign: (agentId, key, terms, seq) => intake.assign(agentId, key, terms, seq),
      send: (agentId, order) => roster.send(agentId, order),
      welcome: (agentId, session, verdicts) => roster.welcome(agentId, session, verdicts),
    },
  })
  const { apply, record, write, settled } = transactions

  const accounts = await loadAccounts({
    store,
    write,
    onAdded: (accountId, quota) => addAccount(ledger, accountId, quota),
    onQuota: (accountId, quota) => apply({ type: 'quota', accountId, quota }),
    onRemoved: (accountId) => {
      apply({ type: 'remove-account', accountId })
      record(images.forget(accountId))
    },
    hasFuncs: (accountId) => funcs.hasFuncs(accountId),
  })
  const membership = await loadMembership({ store, record, write, wallMs: Date.now })
  const roster = createRoster({
    epoch,
    version: VERSION,
    membership,
    apply,
    onLeave: (agentId) => {
      membership.remove(agentId).then(
        () => apply({ type: 'forget', agentId }),
        (error: unknown) => log.error({ err: error, peer: agentId }, 'leaving failed'),
      )
    },
    log,
  })
  const images = await loadImages({
    store,
    write,
    pullOnAgent(reference, auth, onProgress, signal) {
      const agent = pickAgentForPull(ledger.agents.values())
      if (agent === undefined) {
        return Promise.reject(new HyperError('NO_AGENT', 'no agent with an engine is connected'))
      }
      return roster.pull(agent.id, reference, auth, onProgress, signal)
    },
  })
  const liveCalls = (funcId: string, revision?: number): number => {
    const counts = ledger.counts.get(funcId)
    if (revision !== undefined) return counts?.revisions.get(revision) ?? 0
    return (counts?.pending ?? 0) + (counts?.running ?? 0)
  }
  const funcs = await loadFuncs({
    store,
    write,
    pinImage: images.pin,
    liveCalls,
    hasAccount: (accountId) => ledger.accounts.has(accountId),
    cancelCalls: (funcId) => apply({ type: 'remove-func', funcId }),
    removeCaches: caches.removeFunc,
  })
  const termsOf = (funcId: string, revision: number) => {
    const stored = funcs.revision(funcId, revision)
    return stored === null ? null : funcs.terms(stored)
  }
  await loadLedger(store, ledger, caches, accounts.list(), termsOf, nowMs())
  for (const { peerId, name, facts, draining } of membership.members()) {
    if (facts !== null) rememberAgent(ledger, peerId, name, facts, nowMs(), draining)
  }

  const answers = createAnswers({
    ledger,
    caches,
    store,
    apply,
    record,
    settled,
    nowMs,
    onFault,
  })
  const intake = createIntake({
    ledger,
    store,
    apply,
    isStopping,
    byId: funcs.byId,
    termsOf: funcs.terms,
    revision: funcs.revision,
    sendAssignment: roster.assign,
  })
  const calls = createCalls({
    ledger,
    caches,
    store,
    intake,
    answers,
    apply,
    settled,
    byId: funcs.byId,
  })
  const tick = setInterval(() => {
    clock.refresh().catch(() => undefined)
    apply({ type: 'tick' })
    answers.expire()
    membership.expire()
  }, limits.tickMs)
  /** Writes what was decided and gives everything back. */
  const close = async (): Promise<void> => {
    clearInterval(tick)
    await loop.close()
    await store.close()
  }
  return {
    close,
    epoch,
    ledger,
    transactions,
    accounts,
    funcs,
    images,
    calls,
    logs,
    membership,
    roster,
  }
}

export type Rooms = Awaited<ReturnType<typeof openRooms>>
