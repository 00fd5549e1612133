/**
 * The whole ledger under hundreds of random histories: agents that come, go, crash and lose their
 * stores, clients that cancel and go away, a coordinator that is killed between decision and disk.
 * After every transition the books are recounted and the history is checked; when the faults stop,
 * everything ends. A failure names its seed: SEED=n runs that one alone, SEEDS=n so many.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ModelAgent } from '../support/ledger-agent.ts'
import { createSimulation, type Simulation } from '../support/ledger-simulation.ts'
import { createRandom, type Random } from '../support/ledger-words.ts'

const SEEDS = Number(process.env.SEEDS ?? 300)
const STEPS = 220

const disturbAgent = (simulation: Simulation, agent: ModelAgent, random: Random): boolean => {
  switch (random.below(10)) {
    case 0:
    case 1:
      simulation.cut(agent)
      return false
    case 2: {
      simulation.cut(agent)
      const isStoreLost = random.once(4)
      agent.crash(isStoreLost)
      return isStoreLost
    }
    case 3:
      agent.drain(random.once(2))
      return false
    case 4:
      simulation.advertise(agent, !random.once(3))
      return false
    case 5:
      if (!random.once(4)) return false
      simulation.cut(agent)
      simulation.apply({ type: 'forget', agentId: agent.id })
      return true
    default:
      simulation.connect(agent)
      return false
  }
}

const cancelSome = (simulation: Simulation, random: Random): void => {
  const callId = random.pick([...simulation.ledger().calls.keys()])
  if (callId !== undefined) simulation.apply({ type: 'cancel', callId })
}

const leaveSome = (simulation: Simulation, random: Random): void => {
  const call = random.pick([...simulation.ledger().calls.values()].filter(({ sync }) => sync))
  if (call === undefined) return
  simulation.apply({ type: 'undelivered', callId: call.id, body: new Uint8Array() })
}

const changeQuota = (simulation: Simulation, random: Random): void => {
  const accountId = random.pick(simulation.accountIds) ?? ''
  const quota = random.below(5)
  simulation.quotas.set(accountId, quota)
  simulation.apply({ type: 'quota', accountId, quota })
}

/** Silence of all agents, or an absence of the coordinator. */
const passTime = (simulation: Simulation, random: Random): void => {
  if (random.once(3)) simulation.pass(random.below(900_000))
  else for (let ticks = random.below(20); ticks > 0; ticks -= 1) simulation.pass(2_000)
}

/** One random event. True where an agent lost what only it had. */
const disturb = async (simulation: Simulation, random: Random): Promise<boolean> => {
  const agent = random.pick(simulation.agents)
  assert.ok(agent !== undefined)
  const dice = random.below(100)
  if (dice < 12) simulation.accept(random.once(2))
  else if (dice < 40) simulation.talk(agent)
  else if (dice < 60) agent.act(random, false)
  else if (dice < 70) agent.heartbeat()
  else if (dice < 80) simulation.flush()
  else if (dice < 88) return disturbAgent(simulation, agent, random)
  else if (dice < 92) simulation.pass(250)
  else if (dice < 94) simulation.settleDelivery(random.once(2))
  else if (dice < 95) cancelSome(simulation, random)
  else if (dice < 96) leaveSome(simulation, random)
  else if (dice < 97) changeQuota(simulation, random)
  else if (dice < 98) passTime(simulation, random)
  else if (dice < 99) await simulation.restart(random.once(2))
  else simulation.removeSome()
  return false
}

/** The faults are over: everybody is there, heartbeats come in time. */
const drain = (simulation: Simulation, random: Random): void => {
  for (const accountId of simulation.accountIds) {
    simulation.quotas.set(accountId, 3)
    simulation.apply({ type: 'quota', accountId, quota: 3 })
  }
  for (const agent of simulation.agents) {
    agent.drain(false)
    if (!agent.isConnected()) simulation.connect(agent)
    simulation.advertise(agent, true)
  }
  const isBusy = (): boolean =>
    simulation.ledger().calls.size > 0 ||
    simulation.ledger().leases.size > 0 ||
    simulation.deliveriesLeft() > 0 ||
    simulation.agents.some((agent) => agent.outbox.size > 0 || agent.held.size > 0)
  for (let ticks = 0; ticks < 600 && isBusy(); ticks += 1) {
    for (const agent of simulation.agents) {
      agent.heartbeat()
      agent.act(random, true)
      simulation.talk(agent)
      while (agent.hasWords()) simulation.talk(agent)
    }
    simulation.flush()
    simulation.settleDelivery(true)
    simulation.pass(4_000)
  }
  simulation.flush()
}

const runSeed = async (seed: number): Promise<void> => {
  const random = createRandom(seed)
  const simulation = createSimulation(random)
  let isOutputKept = true
  for (let step = 0; step < STEPS; step += 1) {
    if (await disturb(simulation, random)) isOutputKept = false
  }
  drain(simulation, random)
  simulation.checkEmpty()
  simulation.history.checkAll(isOutputKept)
  simulation.history.checkAtMostOnce(simulation.agents.flatMap((agent) => agent.startedNames))
}

test(`the ledger keeps its promises through ${SEEDS} random histories`, async () => {
  const only = process.env.SEED
  const seeds =
    only === undefined ? Array.from({ length: SEEDS }, (_, at) => at + 1) : [Number(only)]
  for (const seed of seeds) {
    await runSeed(seed).catch((cause: unknown) => {
      throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause })
    })
  }
})
