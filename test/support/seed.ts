/** The seed of a test's random moments: `SEED=…` repeats a run as far as processes and disks allow. */

import type { TestContext } from 'node:test'
import { createRandom, type Random } from '../simulation/random.ts'

/** Told in the test's output. */
export const chooseSeed = (t: TestContext): { readonly seed: number; readonly random: Random } => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
  t.diagnostic(`SEED=${seed}`)
  return { seed, random: createRandom(seed) }
}
