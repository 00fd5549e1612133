/**
 * How many containers of one kind should stand ready, from the calls that came. Pure.
 *
 * The demand's level is what has been taken and not been replaced: it rises by one with each call and
 * sinks at the rate at which containers can be started. Its peak is what would have had to stand ready
 * for no call to wait, so a burst seen once finds enough the next time. Peaks are kept by generations
 * of some minutes, the present and the former one: what is not asked for any more is forgotten.
 */

import { limits } from '../protocol/limits.ts'

export interface Demand {
  readonly level: number
  readonly atMs: number
  readonly peak: number
  readonly formerPeak: number
  readonly generation: number
}

const generationAt = (nowMs: number): number => Math.floor(nowMs / limits.demandGenerationMs)

export const NO_DEMAND: Demand = {
  level: 0,
  atMs: Number.NEGATIVE_INFINITY,
  peak: 0,
  formerPeak: 0,
  generation: 0,
}

/** The same demand, with the peaks of the generations that are over forgotten. */
const aged = (demand: Demand, nowMs: number): Demand => {
  const generation = generationAt(nowMs)
  const passed = generation - demand.generation
  if (passed <= 0) return demand
  return { ...demand, generation, peak: 0, formerPeak: passed === 1 ? demand.peak : 0 }
}

/**
 * A call came, or is expected (`weight` below 1). `refillsPerMs`: containers of this kind that can be
 * started.
 */
export const raiseDemand = (
  demand: Demand,
  nowMs: number,
  refillsPerMs: number,
  weight = 1,
): Demand => {
  const now = aged(demand, nowMs)
  const sunk = Math.max(0, now.level - Math.max(0, nowMs - now.atMs) * refillsPerMs)
  // What was taken beyond all that could ever stand ready says nothing more.
  const level = Math.min(limits.readyMax, sunk + weight)
  return { ...now, level, atMs: nowMs, peak: Math.max(now.peak, level) }
}

/** With a quarter more than was ever needed: calls do not come evenly. */
export const readyTarget = (demand: Demand, nowMs: number): number => {
  const { peak, formerPeak } = aged(demand, nowMs)
  return Math.ceil(Math.max(peak, formerPeak) * limits.readySpareRatio)
}
