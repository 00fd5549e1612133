/**
 * A coordinator's process over its disk: the shipped wiring (coordinator/wiring.ts) in virtual time.
 * It can be killed at any moment, stand still, and stop itself at a fault; the next start knows what
 * its disk knows.
 */

import { pino } from 'pino'
import { createSecretBox } from '../../coordinator/secret-box.ts'
import { type Wiring, wireCoordinator } from '../../coordinator/wiring.ts'
import type { Advert } from '../../protocol/advert.ts'
import type { CoordinatorDisk } from './coordinator-disk.ts'
import type { History } from './history.ts'
import { createProcess, type Process, type Scheduler } from './scheduler.ts'

const silent = pino({ level: 'silent' })

/** The Unix time, in seconds, at which virtual time begins. */
const DAWN_SECONDS = 1_489_647_924

export const wallMsAt = (nowMs: number): number => DAWN_SECONDS * 1000 + nowMs

export type Rooms = Wiring

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
  /** A request met an assertion of ours. */
  failAt(error: unknown): void
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
  let core: Rooms['core'] | null = null
  const rooms = await wireCoordinator({
    ...{ onFault, newId: deps.newId, newCallId: deps.newCallId, log: silent },
    store: await deps.disk.open(process),
    // Asked at the start of every transition, and so the moment to look at the ledger.
    nowMs() {
      if (core !== null && process.isAlive()) deps.onTransition(core)
      return scheduler.nowMs()
    },
    wallMs: () => wallMsAt(scheduler.nowMs()),
    // A link has a watch of its own, in virtual time (link.ts).
    watchSilence: () => ({ heard: () => undefined, stop: () => undefined }),
    isEpochRaised: false,
    secrets: createSecretBox(null, async () => undefined),
    tellLoss: null,
    isStopping: () => false,
  })
  core = rooms.core
  return rooms
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
      of.tick()
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
    failAt: deps.onBroken,
    advertised(agentId, advert) {
      const of = rooms
      process?.take(() => of?.core.transactions.apply({ type: 'advert', agentId, advert }))
    },
  }
}
