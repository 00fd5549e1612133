/**
 * A coordinator's process over its disk: the shipped core, roster and books, wired as rooms.ts wires
 * them, in virtual time. It can be killed at any moment, stand still, and stop itself at a fault;
 * the next start knows what its disk knows.
 */

import { pino } from 'pino'
import { type AccountBook, loadAccounts } from '../../coordinator/accounts.ts'
import { createCore } from '../../coordinator/core.ts'
import { raiseEpoch, watchEpochs } from '../../coordinator/epoch.ts'
import { type FuncBook, loadFuncs } from '../../coordinator/funcs.ts'
import { rememberAgent } from '../../coordinator/ledger/members.ts'
import { addAccount } from '../../coordinator/ledger/step.ts'
import { type Loss, settleLosses } from '../../coordinator/losses.ts'
import { loadMembership, type Membership } from '../../coordinator/membership.ts'
import { createRoster, type Roster } from '../../coordinator/roster.ts'
import type { Advert } from '../../protocol/advert.ts'
import { VERSION } from '../../protocol/version.ts'
import type { CoordinatorDisk } from './coordinator-disk.ts'
import type { History } from './history.ts'
import { createProcess, type Process, type Scheduler } from './scheduler.ts'
import { IMAGE } from './workload.ts'

const silent = pino({ level: 'silent' })

/** The Unix time, in seconds, at which virtual time begins. */
const DAWN_SECONDS = 1_489_647_924

export interface Rooms {
  readonly core: ReturnType<typeof createCore>
  readonly accounts: AccountBook
  readonly funcs: FuncBook
  readonly membership: Membership
  readonly roster: Roster
  readonly epoch: number
}

export interface SimulatedCoordinator {
  readonly name: string
  readonly disk: CoordinatorDisk
  /** Null while it is down, or not yet up. */
  rooms(): Rooms | null
  process(): Process | null
  start(): void
  kill(): void
  /** It is not started again. */
  retire(): void
  freeze(forMs: number): void
  advertised(agentId: string, advert: Advert): void
}

export interface CoordinatorDeps {
  readonly name: string
  readonly scheduler: Scheduler
  readonly history: History
  readonly disk: CoordinatorDisk
  readonly tickMs: () => number
  readonly newId: () => string
  readonly newCallId: () => string
  /** Called with the ledger as it is between two transitions. */
  readonly onTransition: (core: Rooms['core']) => void
  /** What no fault of the world explains. */
  readonly onBroken: (error: unknown) => void
  /** It stopped itself: its supervisor will start it again. */
  readonly onStopped: () => void
  readonly onReady: (rooms: Rooms) => void
}

const isRefusedByDisk = (error: unknown): boolean =>
  error instanceof Error &&
  (error.message === 'the disk refused a commit' || error.message.startsWith('no space left'))

const openRooms = async (
  deps: CoordinatorDeps,
  process: Process,
  onFault: (error: unknown) => void,
): Promise<Rooms> => {
  const { scheduler } = deps
  const wallMs = (): number => DAWN_SECONDS * 1000 + scheduler.nowMs()
  let told = { ms: 0, text: '' }
  const wall = (): string => {
    const ms = wallMs()
    if (told.ms !== ms) told = { ms, text: new Date(ms).toISOString() }
    return told.text
  }
  const store = await deps.disk.open(process)
  const start = await raiseEpoch(store, wallMs(), false)
  const { epoch } = start
  let made: Rooms['core'] | null = null
  const core = createCore({
    ...{ store, epoch, onFault, newCallId: deps.newCallId, isStopping: () => false },
    // Asked at the start of every transition, and so the moment to look at the ledger.
    nowMs() {
      if (made !== null && process.isAlive()) deps.onTransition(made)
      return scheduler.nowMs()
    },
    wall,
    funcs: () => funcs,
    agents: () => roster,
    onLogged: () => undefined,
    onEnded: () => undefined,
  })
  const { ledger, caches, transactions } = core
  const { apply, record, write } = transactions
  const accounts = await loadAccounts({
    ...{ store, write, newId: deps.newId },
    onAdded: (accountId, quota) => addAccount(ledger, accountId, quota),
    onQuota: (accountId, quota) => apply({ type: 'quota', accountId, quota }),
    onRemoved: (accountId) => apply({ type: 'remove-account', accountId }),
    hasFuncs: (accountId) => funcs.hasFuncs(accountId),
  })
  const membership = await loadMembership({ store, record, write, wallMs })
  const roster = createRoster({
    ...{ epoch, version: VERSION, membership, apply, log: silent },
    onEpochAhead: watchEpochs(start, record).told,
    onLeave(agentId) {
      membership.remove(agentId).then(() => apply({ type: 'forget', agentId }), onFault)
    },
  })
  const liveCalls = (funcId: string, revision?: number): number => {
    const counts = ledger.counts.get(funcId)
    if (revision !== undefined) return counts?.revisions.get(revision) ?? 0
    return (counts?.pending ?? 0) + (counts?.running ?? 0)
  }
  const funcs = await loadFuncs({
    ...{ store, write, liveCalls, newId: deps.newId },
    pinImage: async () => IMAGE,
    hasAccount: (accountId) => ledger.accounts.has(accountId),
    cancelCalls: (funcId) => apply({ type: 'remove-func', funcId }),
    removeCaches: caches.removeFunc,
  })
  const losses: Loss[] = []
  await core.load(accounts.list(), (loss) => losses.push(loss))
  await store.verify()
  await settleLosses(losses, false, write, () => undefined)
  made = core
  for (const { peerId, name, facts, draining } of membership.members()) {
    if (facts !== null) rememberAgent(ledger, peerId, name, facts, scheduler.nowMs(), draining)
  }
  return { core, accounts, funcs, membership, roster, epoch }
}

export const createCoordinator = (deps: CoordinatorDeps): SimulatedCoordinator => {
  const { name, scheduler, history, disk } = deps
  let process: Process | null = null
  let rooms: Rooms | null = null
  let isRetired = false

  const end = (what: 'is killed' | 'stops at a fault'): void => {
    if (process === null) return
    history.record({ type: 'coordinator', coordinator: name, what, epoch: rooms?.epoch ?? 0 })
    process.kill()
    process = null
    rooms = null
  }

  const start = (): void => {
    if (process !== null || isRetired) return
    const own = createProcess(scheduler)
    process = own
    const onFault = (error: unknown): void => {
      if (process !== own) return
      end('stops at a fault')
      if (isRefusedByDisk(error)) deps.onStopped()
      else deps.onBroken(error)
    }
    const tick = (of: Rooms): void => {
      of.core.tick()
      of.membership.expire()
      own.after(deps.tickMs(), () => tick(of))
    }
    openRooms(deps, own, onFault).then((opened) => {
      if (process !== own) return
      rooms = opened
      const { epoch } = opened
      history.record({ type: 'coordinator', coordinator: name, what: 'starts', epoch })
      tick(opened)
      deps.onReady(opened)
    }, onFault)
  }

  return {
    ...{ name, disk, start },
    rooms: () => rooms,
    process: () => process,
    kill: () => end('is killed'),
    retire: () => {
      isRetired = true
    },
    freeze: (forMs) => process?.freeze(forMs),
    advertised(agentId, advert) {
      const of = rooms
      process?.take(() => of?.core.transactions.apply({ type: 'advert', agentId, advert }))
    },
  }
}
