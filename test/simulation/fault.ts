/** What faults have in common: whom they hit, and for how long. */

import type { SimulatedAgent } from './agent.ts'
import type { World } from './world.ts'

/** Does it, and says what was done; null where there was nothing to do it to. */
export type Act = (world: World) => string | null

export const someAgent = (world: World): SimulatedAgent | null => {
  const all = world.agents.filter((agent) => !agent.isRetired())
  return all.length === 0 ? null : world.random.pick(all)
}

/** Most are short, some outlast every bound of silence. */
export const spell = (world: World): number => {
  const { random, shape } = world
  if (random.chance(0.7)) return random.waitMs(shape.paceMs * 4)
  return random.chance(0.8) ? random.between(15_000, 90_000) : random.between(90_000, 900_000)
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
