/**
 * What goes wrong in a run, each kind at its own pace, and how it is all made good at the end.
 */

import { limits } from '../../protocol/limits.ts'
import type { SimulatedAgent } from './agent.ts'
import type { FaultRates } from './profile.ts'
import { errorTextOf } from './workload.ts'
import type { World } from './world.ts'

type Act = (world: World) => string | null

const someAgent = (world: World): SimulatedAgent | null => {
  const all = world.agents.filter((agent) => !agent.isRetired())
  return all.length === 0 ? null : world.random.pick(all)
}

/** Most are short, some outlast every bound of silence. */
const spell = (world: World): number => {
  const { random, shape } = world
  if (random.chance(0.7)) return random.waitMs(shape.paceMs * 4)
  return random.chance(0.8) ? random.between(15_000, 90_000) : random.between(90_000, 900_000)
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

const cutLine: Act = (world) => {
  const agent = someAgent(world)
  const link = agent === null ? undefined : world.network.linkOf(agent.id)
  if (agent === null || link === undefined || link.isOver()) return null
  const dice = world.random.below(4)
  if (dice < 2) {
    link.cut()
    return `the line of ${agent.id} is cut`
  }
  const side = dice === 2 ? 'agent' : 'coordinator'
  link.cutFor(side)
  return `the line of ${agent.id} is cut, and only its ${side} end hears of it`
}

const stallLine: Act = (world) => {
  const agent = someAgent(world)
  const link = agent === null ? undefined : world.network.linkOf(agent.id)
  if (agent === null || link === undefined || link.isOver()) return null
  const forMs = spell(world)
  link.stall()
  world.scheduler.after(forMs, link.unstall)
  return `the line of ${agent.id} stalls for ${seconds(forMs)}`
}

const partition: Act = (world) => {
  const { network, random, scheduler } = world
  const forMs = spell(world)
  const apart = world.agents.filter(() => random.chance(0.6)).map(({ id }) => id)
  for (const id of apart) {
    network.cutOff.add(id)
    network.linkOf(id)?.stall()
  }
  scheduler.after(forMs, () => {
    for (const id of apart) {
      network.cutOff.delete(id)
      network.linkOf(id)?.unstall()
    }
  })
  return `${apart.join(', ') || 'nobody'} cut off for ${seconds(forMs)}`
}

const slowNetwork: Act = (world) => {
  const { weather } = world.network
  const usual = weather.delayMs
  weather.delayMs = world.random.between(300, 4_000)
  world.scheduler.after(spell(world), () => {
    weather.delayMs = usual
  })
  return `messages take up to ${weather.delayMs} ms`
}

const slowDisk: Act = (world) => {
  const { health } = world.main().disk
  const usual = world.shape.writeMs
  health.writeMs = world.random.between(500, 8_000)
  world.scheduler.after(spell(world), () => {
    health.writeMs = usual
  })
  return `the coordinator's disk takes ${health.writeMs} ms a write`
}

const failDisk: Act = (world) => {
  world.main().disk.health.isFailing = true
  return 'the coordinator’s disk fails a write'
}

const fillDisk: Act = (world) => {
  const { health } = world.main().disk
  health.isFull = true
  world.scheduler.after(spell(world) / 2, () => {
    health.isFull = false
  })
  return 'the coordinator’s disk is full'
}

const failAgentDisk: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  agent.disk.health.isFailing = true
  world.scheduler.after(spell(world) / 2, () => {
    agent.disk.health.isFailing = false
  })
  return `the disk of ${agent.id} refuses writes`
}

const slowAgentDisk: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  agent.disk.health.writeMs = world.random.pick([1, 100, 3_000])
  return `the disk of ${agent.id} takes ${agent.disk.health.writeMs} ms a write`
}

const killCoordinator: Act = (world) => {
  const coordinator = world.main()
  if (coordinator.process() === null) return null
  const forMs = world.random.chance(0.8) ? world.random.below(3_000) : spell(world)
  coordinator.kill()
  world.scheduler.after(forMs, coordinator.start)
  return `the coordinator is killed for ${seconds(forMs)}`
}

/** Aimed: between a decision and its write, or between the write and what is told of it. */
const killAtCommit: Act = (world) => {
  const coordinator = world.main()
  if (coordinator.process() === null) return null
  coordinator.disk.health.writeMs = Math.max(coordinator.disk.health.writeMs, 300)
  world.scheduler.after(world.random.below(1_000), () => {
    coordinator.disk.health.writeMs = world.shape.writeMs
    coordinator.kill()
    world.scheduler.after(world.random.below(3_000), coordinator.start)
  })
  return 'the coordinator is killed while it writes'
}

const killAgent: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null || !agent.isUp()) return null
  const forMs = spell(world)
  agent.kill()
  world.scheduler.after(forMs, agent.start)
  return `${agent.id} is killed for ${seconds(forMs)}`
}

const cutPower: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  const forMs = spell(world)
  agent.losePower()
  world.scheduler.after(forMs, agent.start)
  return `the host of ${agent.id} loses power for ${seconds(forMs)}`
}

const freezeCoordinator: Act = (world) => {
  const forMs = spell(world)
  world.main().freeze(forMs)
  return `the coordinator stands still for ${seconds(forMs)}`
}

const freezeAgent: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  const forMs = spell(world)
  if (world.random.chance(0.5)) {
    agent.freeze(forMs)
    return `the process of ${agent.id} stands still for ${seconds(forMs)}`
  }
  agent.freezeHost(forMs)
  return `the host of ${agent.id} sleeps for ${seconds(forMs)}`
}

const engineAway: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  const isKilling = world.random.chance(0.5)
  agent.engine.goDown(isKilling)
  world.scheduler.after(spell(world), agent.engine.comeUp)
  return `the engine of ${agent.id} goes ${isKilling ? 'with' : 'without'} its containers`
}

const wipeEngine: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  agent.engine.wipe()
  return `the engine of ${agent.id} loses its containers`
}

const engineAiling: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  const { health } = agent.engine
  const { random } = world
  Object.assign(health, { startMs: random.pick([100, 5_000]), hangs: 0.2, refuses: 0.4 })
  world.scheduler.after(spell(world), () => Object.assign(health, { hangs: 0, refuses: 0 }))
  return `the engine of ${agent.id} hangs and refuses`
}

const drainAgent: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  const isByOperator = world.random.chance(0.5)
  const set = async (draining: boolean): Promise<void> => {
    if (!isByOperator) {
      agent.drain(draining)
      return
    }
    const told = async () =>
      world.gateway.request(async (rooms) => {
        await rooms.membership.setDraining(agent.id, draining)
        rooms.core.transactions.apply({ type: 'drain', agentId: agent.id, draining })
      })
    // An operator says it again until it is heard.
    while ((await told()).kind === 'broken') await world.scheduler.pause(1_000)
  }
  void set(true)
  world.scheduler.after(spell(world), () => void set(false))
  return `${agent.id} drains`
}

const loseStore: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  agent.loseStore()
  world.scheduler.after(spell(world) / 2, agent.start)
  return `${agent.id} loses its store`
}

const leave: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null || !agent.isConnected()) return null
  agent.leave()
  return `${agent.id} leaves for good`
}

const removeAgent: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  void world.gateway.request(async (rooms) => {
    world.history.record({ type: 'agent', agentId: agent.id, what: 'is removed' })
    await rooms.membership.remove(agent.id)
    rooms.roster.disconnect(agent.id)
    rooms.core.transactions.apply({ type: 'forget', agentId: agent.id })
  })
  return `${agent.id} is removed`
}

const join: Act = (world) => {
  if (world.agents.filter((agent) => !agent.isRetired()).length >= 5) return null
  void world.addAgent()
  return 'an agent joins'
}

const resize: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  agent.resize(world.random.between(1, 4))
  return `${agent.id} has another number of slots`
}

/** A member that lies: a result of an attempt that was never granted to it. */
const forge: Act = (world) => {
  const agent = someAgent(world)
  const { ledger } = world.main().rooms()?.core ?? {}
  const calls = [...(ledger?.calls.values() ?? [])]
  if (agent === null || calls.length === 0 || !agent.isConnected()) return null
  const call = world.random.pick(calls)
  // Of an attempt of another agent, or of one that nobody was granted.
  const [other] = call.granted.filter(({ agentId }) => agentId !== agent.id)
  const attempt = other?.attempt ?? call.lastAttempt + 100
  const epoch = other?.epoch ?? world.main().rooms()?.epoch ?? 0
  const key = { call: call.id, attempt, epoch }
  const words = new TextEncoder().encode(`forged ${errorTextOf(call.id)}`)
  const times = { startMs: 0, runMs: 0 }
  agent.forge({
    ...{ type: 'result', session: agent.session(), key },
    result: {
      ...{ code: 'FINISHED', started: true, exitCode: 0, message: '', ...times },
      ...{ stdout: words, stderr: new Uint8Array(0) },
    },
  })
  return `${agent.id} tells of an attempt that is not its own`
}

const ACTS: Readonly<Record<keyof FaultRates, readonly Act[]>> = {
  network: [cutLine, cutLine, stallLine, partition, slowNetwork],
  disk: [slowDisk, failDisk, fillDisk, failAgentDisk, slowAgentDisk],
  crash: [killCoordinator, killAtCommit, killAgent, killAgent, cutPower],
  sleep: [freezeCoordinator, freezeAgent, freezeAgent],
  churn: [drainAgent, drainAgent, loseStore, leave, removeAgent, join, join, resize],
  engine: [engineAway, engineAiling, wipeEngine],
  stranger: [forge],
}

/**
 * The coordinator is given up for one from a backup, with a higher epoch; the old one runs on for a
 * while beside it, and some agents still find it.
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
      const next = world.makeCoordinator()
      next.disk.restore(backup)
      const { name: coordinator } = next
      history.record({ type: 'coordinator', coordinator, what: 'is restored', epoch: 0 })
      for (const { id } of agents) {
        if (random.chance(0.5)) world.strays.add(id)
        else scheduler.after(random.below(5_000), () => network.linkOf(id)?.cut())
      }
      world.replaceMain(next)
      next.start()
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

/** Everything is made good, but for what is gone for good; somebody is there to run calls. */
export const heal = (world: World): void => {
  const { network, agents, shape } = world
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
