/**
 * What goes wrong in a run, each kind at its own pace, and how it is all made good at the end.
 */

import { markRestored } from '../../coordinator/restored.ts'
import { limits } from '../../protocol/limits.ts'
import { type SimulatedCoordinator, wallMsAt } from './coordinator.ts'
import type { Act } from './fault.ts'
import {
  cutPower,
  drainAgent,
  engineAiling,
  engineAway,
  failAgentDisk,
  forge,
  freezeAgent,
  join,
  killAgent,
  killBusyAgent,
  leave,
  loseHost,
  loseStore,
  removeAgent,
  resize,
  slowAgentDisk,
  wipeEngine,
} from './fault-hosts.ts'
import {
  cutLine,
  failDisk,
  fillDisk,
  freezeCoordinator,
  killAtCommit,
  killCoordinator,
  partition,
  slowDisk,
  slowNetwork,
  stallLine,
} from './fault-ways.ts'
import type { FaultRates } from './profile.ts'
import { createProcess } from './scheduler.ts'
import type { World } from './world.ts'

const ACTS: Readonly<Record<keyof FaultRates, readonly Act[]>> = {
  network: [cutLine, cutLine, stallLine, partition, slowNetwork],
  disk: [slowDisk, failDisk, fillDisk, failAgentDisk, slowAgentDisk],
  crash: [killCoordinator, killAtCommit, killAgent, killBusyAgent, cutPower],
  sleep: [freezeCoordinator, freezeAgent, freezeAgent],
  churn: [drainAgent, drainAgent, loseStore, leave, removeAgent, loseHost, join, join, resize],
  engine: [engineAway, engineAiling, wipeEngine],
  stranger: [forge],
}

/** What `hyper restore` makes of a backup (restore.ts): its rows, and the mark for the first start. */
const restoreInto = async (
  next: SimulatedCoordinator,
  backup: ReturnType<SimulatedCoordinator['disk']['copy']>,
  { scheduler, history }: World,
): Promise<void> => {
  next.disk.restore(backup)
  const { name: coordinator } = next
  history.record({ type: 'coordinator', coordinator, what: 'is restored', epoch: 0 })
  const wallMs = wallMsAt(scheduler.nowMs())
  const restoring = createProcess(scheduler)
  const store = await next.disk.open(restoring)
  await markRestored(store, new Date(wallMs).toISOString(), wallMs)
  restoring.kill()
}

/**
 * The coordinator is given up for one from a backup. Its host is lost, or it runs on for a while
 * beside the other, and some agents still find it: the epoch alone keeps them apart.
 */
const beginRestore = (world: World, untilMs: number): void => {
  const { scheduler, random, history, agents, network } = world
  const restMs = untilMs - scheduler.nowMs()
  const former = world.main()
  scheduler.after(random.between(restMs * 0.1, restMs * 0.4), () => {
    const backup = former.disk.copy()
    history.record({ type: 'backup', coordinator: former.name })
    scheduler.after(random.between(1_500, restMs * 0.5), () => {
      former.retire()
      const isLost = random.chance(0.3)
      if (isLost) former.kill()
      const next = world.makeCoordinator()
      for (const { id } of agents) {
        if (random.chance(0.5)) world.strays.add(id)
        else scheduler.after(random.below(5_000), () => network.linkOf(id)?.cut())
      }
      world.replaceMain(next)
      void restoreInto(next, backup, world).then(next.start)
      scheduler.after(random.between(5_000, 60_000), world.strays.clear.bind(world.strays))
      scheduler.after(random.between(5_000, 90_000), former.kill)
    })
  })
}

/** Begins all kinds that this run has; they end at `untilMs`. */
export const beginFaults = (world: World, untilMs: number): void => {
  const { scheduler, random, shape, history } = world
  const begin = (rate: number, acts: readonly Act[]): void => {
    if (rate === 0) return
    const again = (): void =>
      scheduler.after(random.waitMs(rate * shape.paceMs), () => {
        if (scheduler.nowMs() >= untilMs) return
        const what = random.pick(acts)(world)
        if (what !== null) history.record({ type: 'fault', what })
        again()
      })
    again()
  }
  if (random.chance(shape.profile.restore)) beginRestore(world, untilMs)
  const { rates } = shape.profile
  begin(rates.network, ACTS.network)
  begin(rates.disk, ACTS.disk)
  begin(rates.crash, ACTS.crash)
  begin(rates.sleep, ACTS.sleep)
  begin(rates.churn, ACTS.churn)
  begin(rates.engine, ACTS.engine)
  begin(rates.stranger, ACTS.stranger)
}

/** A backup knows members that have gone since: the operator removes them again. */
const removeTheGone = (world: World): void => {
  const gone = world.agents.filter((agent) => agent.isRetired()).map(({ id }) => id)
  const told = async (): Promise<void> => {
    const { kind } = await world.gateway.request(async (rooms) => {
      for (const id of gone.filter((one) => rooms.membership.isMember(one))) {
        const written = rooms.membership.remove(id, 'revoked')
        rooms.core.transactions.apply({ type: 'forget', agentId: id, reason: 'removed' })
        await written
      }
    })
    if (kind !== 'broken') return
    await world.scheduler.pause(1_000)
    await told()
  }
  void told()
}

/** Everything is made good, but for what is gone for good; somebody is there to run calls. */
export const heal = (world: World): void => {
  const { network, agents, shape } = world
  world.history.record({ type: 'healed' })
  if (world.coordinators.length > 1) removeTheGone(world)
  network.cutOff.clear()
  network.weather.delayMs = 5
  for (const coordinator of world.coordinators) {
    Object.assign(coordinator.disk.health, { writeMs: 1, isFailing: false, isFull: false })
  }
  for (const agent of agents) {
    network.linkOf(agent.id)?.unstall()
    if (agent.isRetired()) continue
    Object.assign(agent.disk.health, { writeMs: 1, isFailing: false })
    Object.assign(agent.engine.health, { startMs: 100, hangs: 0, refuses: 0 })
    agent.engine.comeUp()
    agent.start()
  }
  world.setPace(Math.max(shape.paceMs, limits.heartbeatIdleMs - 1000))
}
