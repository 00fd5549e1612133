/** What goes wrong between processes, on the coordinator's disk, and with time. */

import { type Act, seconds, someAgent, spell } from './fault.ts'

export const cutLine: Act = (world) => {
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

export const stallLine: Act = (world) => {
  const agent = someAgent(world)
  const link = agent === null ? undefined : world.network.linkOf(agent.id)
  if (agent === null || link === undefined || link.isOver()) return null
  const forMs = spell(world)
  link.stall()
  world.scheduler.after(forMs, link.unstall)
  return `the line of ${agent.id} stalls for ${seconds(forMs)}`
}

export const partition: Act = (world) => {
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

export const slowNetwork: Act = (world) => {
  const { weather } = world.network
  const usual = weather.delayMs
  weather.delayMs = world.random.between(300, 4_000)
  world.scheduler.after(spell(world), () => {
    weather.delayMs = usual
  })
  return `messages take up to ${weather.delayMs} ms`
}

export const slowDisk: Act = (world) => {
  const { health } = world.main().disk
  const usual = world.shape.writeMs
  health.writeMs = world.random.between(500, 8_000)
  world.scheduler.after(spell(world), () => {
    health.writeMs = usual
  })
  return `the coordinator's disk takes ${health.writeMs} ms a write`
}

export const failDisk: Act = (world) => {
  world.main().disk.health.isFailing = true
  return 'the coordinator’s disk fails a write'
}

export const fillDisk: Act = (world) => {
  const { health } = world.main().disk
  health.isFull = true
  world.scheduler.after(spell(world) / 2, () => {
    health.isFull = false
  })
  return 'the coordinator’s disk is full'
}

export const killCoordinator: Act = (world) => {
  const coordinator = world.main()
  if (coordinator.process() === null) return null
  const forMs = world.random.chance(0.8) ? world.random.below(3_000) : spell(world)
  coordinator.kill()
  world.scheduler.after(forMs, coordinator.start)
  return `the coordinator is killed for ${seconds(forMs)}`
}

/** Aimed: between a decision and its write, or between the write and what is told of it. */
export const killAtCommit: Act = (world) => {
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

export const freezeCoordinator: Act = (world) => {
  const forMs = spell(world)
  world.main().freeze(forMs)
  return `the coordinator stands still for ${seconds(forMs)}`
}
