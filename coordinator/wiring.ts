/**
 * The coordinator over its store, wired: core, accounts, functions, images, members and roster, each
 * given what it needs of the others. It raises the epoch, fills memory from the disk, has what the
 * disk lost named and what a restore means settled, in this order, and decides nothing itself.
 *
 * Clocks, ids, the log and the store are handed in: a simulation runs this same wiring in virtual
 * time. What touches the world (the disk's room, the ticking, the end of the process) is rooms.ts.
 */

import type { Log } from '../daemon/log.ts'
import { VERSION } from '../protocol/version.ts'
import { type AccountBook, loadAccounts } from './accounts.ts'
import { createCore } from './core.ts'
import { raiseEpoch, watchEpochs } from './epoch.ts'
import { loadFuncs } from './funcs.ts'
import { loadImages } from './images.ts'
import { rememberAgent } from './ledger/members.ts'
import { pickAgent } from './ledger/placement.ts'
import { addAccount } from './ledger/step.ts'
import { createLogs } from './logs.ts'
import { type Loss, settleLosses } from './losses.ts'
import { loadMembership } from './membership.ts'
import { preparationOf } from './preparation.ts'
import { createPresence } from './presence.ts'
import { pullAuthFor } from './pull-auth.ts'
import { createPullOnAgent } from './pull-on-agent.ts'
import { settleRestored } from './restored.ts'
import { createRoster } from './roster.ts'
import type { SecretBox } from './secret-box.ts'
import type { WatchSilence } from './session.ts'
import type { TellLoss } from './store/damage.ts'
import type { Store } from './store/store.ts'
import { createSuspicion } from './suspicion.ts'

export interface WiringDeps {
  readonly store: Store
  readonly nowMs: () => number
  readonly wallMs: () => number
  /** Of accounts and functions. */
  readonly newId: () => string
  readonly newCallId: () => string
  /** The operator lets the epoch pass one that was told (`--raise-epoch`). */
  readonly isEpochRaised: boolean
  /** Null: none is accepted, and a loss refuses the start. */
  readonly tellLoss: TellLoss | null
  readonly secrets: SecretBox
  readonly isStopping: () => boolean
  /** By the machine’s own timers. */
  readonly watchSilence: WatchSilence
  /** Ends the process: memory is not to be trusted any more. */
  readonly onFault: (error: unknown) => void
  readonly log: Log
}

type Core = ReturnType<typeof createCore>
type Start = Awaited<ReturnType<typeof raiseEpoch>>

const wireRoster = async (
  deps: WiringDeps,
  start: Start,
  core: Core,
  accounts: Pick<AccountBook, 'registryAuth'>,
) => {
  const { store, log } = deps
  const { apply, record, write, settled } = core.transactions
  const membership = await loadMembership({ store, record, write, wallMs: deps.wallMs })
  const presence = createPresence(deps.wallMs)
  const roster = createRoster({
    epoch: start.epoch,
    version: VERSION,
    ...{ membership, presence, apply, settled },
    pullAuth: (agentId, key) => pullAuthFor(core.ledger, accounts.registryAuth, agentId, key),
    onEpochAhead: watchEpochs(start, record).told,
    watchSilence: deps.watchSilence,
    onLeave: (agentId) => {
      membership.remove(agentId, 'left').then(
        () => apply({ type: 'forget', agentId, reason: 'it left the mesh' }),
        (error: unknown) => log.error({ err: error, peer: agentId }, 'leaving failed'),
      )
    },
    log,
  })
  return { membership, presence, roster }
}

const wireImages = (
  { store }: WiringDeps,
  { ledger, transactions }: Core,
  roster: Awaited<ReturnType<typeof wireRoster>>['roster'],
  accounts: AccountBook,
) =>
  loadImages({
    store,
    write: transactions.write,
    pullOnAgent: createPullOnAgent(ledger, roster),
    registryAuth: accounts.registryAuth,
    async keepRegistryAuth(accountId, registry, auth) {
      await accounts.keepRegistryAuth(accountId, registry, auth)
      transactions.apply({ type: 'registry-auth', accountId })
    },
  })

/** What is registered, and who is a member. */
const wireBooks = async (deps: WiringDeps, start: Start, core: Core) => {
  const { store, newId } = deps
  const { ledger, caches, transactions } = core
  const { apply, record, write } = transactions
  const accounts = await loadAccounts({
    ...{ store, write, newId },
    onAdded: (accountId, quota) => addAccount(ledger, accountId, quota),
    onQuota: (accountId, quota) => apply({ type: 'quota', accountId, quota }),
    onRemoved: (accountId) => {
      apply({ type: 'remove-account', accountId })
      record(images.forget(accountId))
    },
    hasFuncs: (accountId) => funcs.hasFuncs(accountId),
    secrets: deps.secrets,
    onUnreadableAuth({ name }, registry) {
      const next = `hyper pull an image of ${registry} with them`
      deps.log.warn({ account: name, registry, next }, 'kept credentials cannot be read')
    },
  })
  const { membership, presence, roster } = await wireRoster(deps, start, core, accounts)
  const images = await wireImages(deps, core, roster, accounts)
  const liveCalls = (funcId: string, revision?: number): number => {
    const counts = ledger.counts.get(funcId)
    if (revision !== undefined) return counts?.revisions.get(revision) ?? 0
    return (counts?.pending ?? 0) + (counts?.running ?? 0)
  }
  const funcs = await loadFuncs({
    ...{ store, write, newId, liveCalls },
    pinImage: images.pin,
    hasAccount: (accountId) => ledger.accounts.has(accountId),
    cancelCalls: (funcId) => apply({ type: 'remove-func', funcId }),
    removeCaches: caches.removeFunc,
    // Its first call finds a container ready, where there is an agent with room.
    onSaved(stored) {
      const agent = pickAgent(ledger, funcs.terms(stored))
      if (agent === undefined) return
      const preparation = preparationOf(stored)
      roster.send(agent.id, { type: 'prepare', session: agent.session, preparation })
    },
  })
  return { accounts, membership, presence, roster, images, funcs }
}

/** Throws STATE_DAMAGED. */
export const wireCoordinator = async (deps: WiringDeps) => {
  const { store, nowMs, tellLoss, log } = deps
  const start = await raiseEpoch(store, deps.wallMs(), deps.isEpochRaised)
  const { epoch } = start
  const logs = createLogs({ store, span: (funcId) => core.caches.logSpan(funcId) })
  const core: Core = createCore({
    ...{ store, epoch, nowMs, newCallId: deps.newCallId },
    isStopping: deps.isStopping,
    onFault: deps.onFault,
    wall: () => new Date(deps.wallMs()).toISOString(),
    // They need the core, and are made below.
    funcs: () => books.funcs,
    agents: () => books.roster,
    onLogged: logs.logged,
    onEnded(call, attempt, { code, exitCode }, bytesOut) {
      log.info({ call, attempt, reason: code, exit: exitCode, bytesOut }, 'call ended')
    },
  })
  const books = await wireBooks(deps, start, core)
  const { accounts, membership } = books
  const losses: Loss[] = []
  await core.load(accounts.list(), (loss) => losses.push(loss))
  await store.verify()
  await settleLosses(losses, core.transactions.write, tellLoss)
  await settleRestored(store, core.ledger, core.transactions, log)
  for (const { peerId, name, facts, draining } of membership.members()) {
    if (facts !== null) rememberAgent(core.ledger, peerId, name, facts, nowMs(), draining)
  }
  books.funcs.finishRemovals().catch(deps.onFault)
  const lookForSilence = createSuspicion(core.ledger, log)
  return {
    ...{ epoch, core, logs, ...books },
    /** What time alone decides; called every `tickMs`. */
    tick(): void {
      core.tick()
      lookForSilence()
      membership.expire()
    },
  }
}

export type Wiring = Awaited<ReturnType<typeof wireCoordinator>>
