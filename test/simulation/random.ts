/**
 * All chance of a run: one generator, seeded, so that the same seed is the same run on every
 * machine (Mulberry32).
 */

export interface Random {
  /** From 0 up to, not with, 1. */
  fraction(): number
  /** A whole number from 0 up to, not with, the bound. */
  below(bound: number): number
  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number
  /** True with this likelihood. */
  chance(likelihood: number): boolean
  /** One of them; there must be one. */
  pick<T>(items: readonly T[]): T
  /** Waits of this mean, as they lie between independent events. */
  waitMs(meanMs: number): number
}

export const createRandom = (seed: number): Random => {
  let state = seed >>> 0
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (bound: number): number => Math.floor(fraction() * bound)
  return {
    fraction,
    below,
    between: (least, most) => least + below(most - least + 1),
    chance: (likelihood) => fraction() < likelihood,
    pick(items) {
      const item = items[below(items.length)]
      if (item === undefined) throw new Error('nothing to pick from')
      return item
    },
    waitMs: (meanMs) => Math.ceil(-Math.log(1 - fraction()) * meanMs),
  }
}
