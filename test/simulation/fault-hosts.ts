/** What goes wrong on the agents' hosts, and with who is a member. */

import type { SimulatedAgent } from './agent.ts'
import { type Act, seconds, someAgent, spell } from './fault.ts'
import { errorTextOf } from './workload.ts'

export const failAgentDisk: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  agent.disk.health.isFailing = true
  world.scheduler.after(spell(world) / 2, () => {
    agent.disk.health.isFailing = false
  })
  return `the disk of ${agent.id} refuses writes`
}

export const slowAgentDisk: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  agent.disk.health.writeMs = world.random.pick([1, 100, 3_000])
  return `the disk of ${agent.id} takes ${agent.disk.health.writeMs} ms a write`
}

export const killAgent: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null || !agent.isUp()) return null
  const forMs = spell(world)
  agent.kill()
  world.scheduler.after(forMs, agent.start)
  return `${agent.id} is killed for ${seconds(forMs)}`
}

/**
 * Aimed: what ran there has ended when the agent is back, is not read yet, because its engine is away
 * for longer, and is under way elsewhere, where it takes long to begin.
 */
export const killBusyAgent: Act = (world) => {
  const { scheduler, random } = world
  const isBusy = ({ engine }: SimulatedAgent): boolean =>
    engine.containers().some(({ isRunning }) => isRunning)
  const agent = world.agents.find((one) => !one.isRetired() && one.isUp() && isBusy(one))
  if (agent === undefined) return null
  const forMs = random.between(25_000, 60_000)
  const laterMs = random.between(2_000, 30_000)
  const others = world.agents.filter((one) => one !== agent)
  const slow = (startMs: number) => (): void => {
    for (const { engine } of others) engine.health.startMs = startMs
  }
  agent.kill()
  agent.engine.goDown(false)
  slow(forMs)()
  scheduler.after(forMs, agent.start)
  scheduler.after(forMs + laterMs, agent.engine.comeUp)
  scheduler.after(forMs + laterMs, slow(100))
  return `${agent.id} is killed for ${seconds(forMs)}, and its engine answers ${seconds(laterMs)} later`
}

export const cutPower: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  const forMs = spell(world)
  agent.losePower()
  world.scheduler.after(forMs, agent.start)
  return `the host of ${agent.id} loses power for ${seconds(forMs)}`
}

export const freezeAgent: Act = (world) => {
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

export const engineAway: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  const isKilling = world.random.chance(0.5)
  agent.engine.goDown(isKilling)
  world.scheduler.after(spell(world), agent.engine.comeUp)
  return `the engine of ${agent.id} goes ${isKilling ? 'with' : 'without'} its containers`
}

export const wipeEngine: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  agent.engine.wipe()
  return `the engine of ${agent.id} loses its containers`
}

export const engineAiling: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  const { health } = agent.engine
  const { random } = world
  Object.assign(health, { startMs: random.pick([100, 5_000]), hangs: 0.2, refuses: 0.4 })
  world.scheduler.after(spell(world), () => Object.assign(health, { hangs: 0, refuses: 0 }))
  return `the engine of ${agent.id} hangs and refuses`
}

export const drainAgent: Act = (world) => {
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
  const isDrained = set(true)
  // In this order, also where the first word takes long to be heard.
  world.scheduler.after(spell(world), () => void isDrained.then(() => set(false)))
  return `${agent.id} drains`
}

export const loseStore: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  agent.loseStore()
  world.scheduler.after(spell(world) / 2, agent.start)
  return `${agent.id} loses its store`
}

export const leave: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null || !agent.isConnected()) return null
  agent.leave()
  return `${agent.id} leaves for good`
}

export const removeAgent: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  void world.gateway.request(async (rooms) => {
    world.history.record({ type: 'agent', agentId: agent.id, what: 'is removed' })
    const written = rooms.membership.remove(agent.id, 'revoked')
    rooms.roster.disconnect(agent.id)
    rooms.core.transactions.apply({ type: 'forget', agentId: agent.id, reason: 'removed' })
    await written
  })
  return `${agent.id} is removed`
}

/** Nobody tells the coordinator: it waits for it as long as its leases last, and no longer. */
export const loseHost: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  world.history.record({ type: 'agent', agentId: agent.id, what: 'is removed' })
  agent.losePower()
  agent.retire()
  return `${agent.id} is gone with its host`
}

export const join: Act = (world) => {
  if (world.agents.filter((agent) => !agent.isRetired()).length >= 5) return null
  void world.addAgent()
  return 'an agent joins'
}

export const resize: Act = (world) => {
  const agent = someAgent(world)
  if (agent === null) return null
  agent.resize(world.random.between(1, 4))
  return `${agent.id} has another number of slots`
}

/** A member that lies: a result of an attempt that was never granted to it. */
export const forge: Act = (world) => {
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
