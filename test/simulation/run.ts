/**
 * One seed from its beginning to its end: a mesh is made, used and disturbed, healed, must come to
 * rest, is asked once more for everything, and its history is checked.
 */

import { reasonOf } from '../../coordinator/ledger/reasons.ts'
import { parseHistoryRow } from '../../coordinator/rows.ts'
import { messageOf } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { checkDisk } from '../support/ledger-invariants.ts'
import { checkHistory, type Failure } from './checker.ts'
import { beginFaults, heal } from './faults.ts'
import { createHistory, type Observation } from './history.ts'
import { shapeOf } from './profile.ts'
import { createRandom } from './random.ts'
import { createScheduler } from './scheduler.ts'
import { createWitness } from './witness.ts'
import { createWorld, type World } from './world.ts'

/** Every bound of silence, wait and retry is far below this. */
const REST_MS = 4 * 3_600_000

export interface Outcome {
  readonly seed: number
  readonly profile: string
  readonly failure: Failure | null
  readonly observations: readonly Observation[]
  readonly acts: number
  readonly virtualMs: number
}

/** Users come at their own pace, and change what is registered now and then. */
const beginUse = (world: World, untilMs: number): void => {
  const { scheduler, random, shape, clients } = world
  const useMs = untilMs - scheduler.nowMs()
  let left = shape.calls
  const call = (): void => {
    if (left === 0 || scheduler.nowMs() >= untilMs) return
    left -= 1
    // Some come in crowds.
    const crowd = random.chance(0.2) ? random.between(2, 6) : 1
    for (let one = 0; one < crowd; one += 1) clients.callSome()
    scheduler.after(random.waitMs(useMs / shape.calls), call)
  }
  call()
  const change = (): void => {
    if (scheduler.nowMs() >= untilMs) return
    clients.changeSome()
    scheduler.after(random.waitMs(useMs / 6), change)
  }
  if (shape.profile.name !== 'calm' || random.chance(0.5)) {
    scheduler.after(random.waitMs(useMs / 6), change)
  }
}

const leftOf = (world: World): Record<string, readonly string[]> => {
  const { ledger } = world.main().rooms()?.core ?? {}
  const { disk } = world.main()
  const present = world.agents.filter((agent) => !agent.isRetired())
  return {
    calls:
      ledger === undefined
        ? ['no coordinator']
        : [...ledger.calls.values()].map(
            (call) => `${call.id} (${call.state}, ${reasonOf(ledger, call)})`,
          ),
    leases: [...(ledger?.leases.keys() ?? [])],
    owed: [...(ledger?.owed.keys() ?? [])],
    reservations: [...(ledger?.reservations.keys() ?? [])],
    counts: [...(ledger?.counts.keys() ?? [])],
    'call rows': disk.keys('call'),
    'lease rows': disk.keys('lease'),
    inputs: disk.keys('input'),
    'owed rows': disk.keys('owed'),
    containers: present.flatMap((agent) => agent.containersInUse()),
    'running containers of agents that are gone': world.agents
      .filter((agent) => agent.isRetired())
      .flatMap((agent) =>
        agent.engine.containers().flatMap(({ id, isRunning }) => (isRunning ? [id] : [])),
      ),
    notes: present.flatMap((agent) => agent.disk.notes()),
    results: present.flatMap((agent) => agent.disk.results()),
    'agents not at rest': present.filter((agent) => !agent.isQuiet()).map(({ id }) => id),
  }
}

/** What was fetched by who knew of it goes after its grace. */
const deliveredLeft = (world: World): Record<string, readonly string[]> => {
  const { disk } = world.main()
  const known = world.clients.knownCalls()
  const isKnown = (key: string): boolean => {
    const row = disk.value('history', key)
    return row === undefined || known.has(parseHistoryRow(row).id)
  }
  return {
    'outputs that were fetched': disk.keys('output').filter(isKnown),
    'bodies that were fetched': disk.keys('stdout').filter(isKnown),
    'marks of what was fetched': disk.keys('fetched').filter(isKnown),
  }
}

const isAtRest = (world: World): boolean =>
  world.clients.isIdle() && Object.values(leftOf(world)).every((names) => names.length === 0)

const untilRest = async (world: World): Promise<void> => {
  const { scheduler } = world
  const untilMs = scheduler.nowMs() + REST_MS
  let looked = 0
  const isDone = (): boolean => {
    if (world.broken() !== null) return true
    looked += 1
    return looked % 20 === 0 && isAtRest(world)
  }
  await scheduler.run(isDone, untilMs)
}

/** Somebody is there to run calls, also when the last one has left. */
const keepPeopled = (world: World): void => {
  const { scheduler, agents } = world
  const isEmpty = agents.every((agent) => agent.isRetired() || agent.isLeaving())
  const added = isEmpty ? world.addAgent() : Promise.resolve()
  added.then(() => scheduler.after(5_000, () => keepPeopled(world)), undefined)
}

const live = async (world: World): Promise<void> => {
  const { scheduler, shape, clients } = world
  const isBroken = (): boolean => world.broken() !== null
  const untilMs = scheduler.nowMs() + shape.paces * shape.paceMs
  beginUse(world, untilMs)
  beginFaults(world, untilMs)
  await scheduler.run(isBroken, untilMs)
  heal(world)
  keepPeopled(world)
  clients.openQuotas()
  await untilRest(world)
  if (isBroken()) return
  // Who had it all has it all, and what was fetched goes after its grace.
  clients.lookAtAll()
  await scheduler.run(() => isBroken() || clients.isIdle(), scheduler.nowMs() + REST_MS)
  await scheduler.run(isBroken, scheduler.nowMs() + limits.deliveredGraceMs + 10_000)
  const delivered = deliveredLeft(world)
  // An engine may have made a container meanwhile, for an agent that had died at its start.
  await untilRest(world)
  const { core } = world.main().rooms() ?? {}
  if (core !== undefined && core.transactions !== undefined) {
    checkDisk(core.ledger, world.main().disk)
  }
  world.history.record({ type: 'rest', left: { ...leftOf(world), ...delivered } })
}

export const runSeed = async (seed: number, profile: string | null = null): Promise<Outcome> => {
  const random = createRandom(seed)
  const scheduler = createScheduler(1_000)
  const shape = shapeOf(random, profile)
  const history = createHistory(scheduler.nowMs)
  const { look } = createWitness(history)
  const world = await createWorld({ scheduler, random, shape, history, witness: look })
  let error: unknown = null
  try {
    if (world.broken() === null) await live(world)
  } catch (thrown) {
    error = thrown
  }
  error ??= world.broken()
  // The real timers of its roster go with it.
  for (const coordinator of world.coordinators) coordinator.kill()
  const { observations } = world.history
  const failure =
    error === null
      ? checkHistory(observations)
      : { invariant: 'assertion', message: messageOf(error), atMs: scheduler.nowMs() }
  return {
    ...{ seed, profile: shape.profile.name, failure, observations },
    ...{ acts: scheduler.acts(), virtualMs: scheduler.nowMs() },
  }
}
