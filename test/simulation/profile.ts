/**
 * What a run is like: its size, its pace, and which faults happen how often. All of it is drawn from
 * the seed, so that thousands of seeds cover what no list of examples would.
 */

import type { Random } from './random.ts'

/** Mean pauses between faults of a kind, in paces (see below); 0 is never. */
export interface FaultRates {
  readonly network: number
  readonly disk: number
  readonly crash: number
  readonly sleep: number
  readonly churn: number
  readonly engine: number
  readonly stranger: number
}

interface Profile {
  readonly name: string
  readonly rates: FaultRates
  /** Likelihood that the coordinator is replaced by one from an old backup. */
  readonly restore: number
}

const none: FaultRates = {
  ...{ network: 0, disk: 0, crash: 0, sleep: 0, churn: 0, engine: 0, stranger: 0 },
}

const PROFILES: readonly Profile[] = [
  { name: 'calm', rates: none, restore: 0 },
  { name: 'network', rates: { ...none, network: 5, stranger: 30 }, restore: 0 },
  { name: 'disk', rates: { ...none, disk: 10, crash: 40 }, restore: 0 },
  { name: 'crash', rates: { ...none, crash: 12, network: 40 }, restore: 0.1 },
  { name: 'sleep', rates: { ...none, sleep: 10, network: 20 }, restore: 0 },
  { name: 'restore', rates: { ...none, crash: 40, network: 20 }, restore: 1 },
  { name: 'churn', rates: { ...none, churn: 8, engine: 12, network: 30 }, restore: 0 },
  {
    name: 'all',
    rates: { network: 12, disk: 30, crash: 25, sleep: 40, churn: 25, engine: 25, stranger: 40 },
    restore: 0.1,
  },
]

/** Outputs near the bound, so that they rotate: costly, and so seldom. */
const LARGE: Profile = { name: 'large', rates: { ...none, crash: 60 }, restore: 0 }
const LARGE_SHARE = 0.002

export interface Shape {
  readonly profile: Profile
  readonly agents: number
  readonly accounts: number
  readonly calls: number
  /** Time is counted in paces: the coordinator's tick, and what everything else is measured by. */
  readonly paceMs: number
  readonly paces: number
  readonly isLarge: boolean
  readonly isLate: boolean
  /** Reads of the coordinator's disk take time. */
  readonly readMs: number
  readonly writeMs: number
  readonly gossipLoss: number
  readonly breaks: number
}

export const shapeOf = (random: Random, profileName: string | null): Shape => {
  const named = [...PROFILES, LARGE].find(({ name }) => name === profileName)
  if (profileName !== null && named === undefined) {
    const names = [...PROFILES, LARGE].map(({ name }) => name).join(', ')
    throw new Error(`no profile ${profileName}; there are ${names}`)
  }
  const drawn = random.chance(LARGE_SHARE) ? LARGE : random.pick(PROFILES)
  const profile = named ?? drawn
  const isCalm = profile.name === 'calm'
  const isLarge = profile.name === 'large'
  return {
    profile,
    isLarge,
    agents: random.between(1, 4),
    accounts: isLarge ? 1 : random.between(1, 3),
    calls: isLarge ? random.between(55, 70) : random.between(4, 11),
    paceMs: random.pick([500, 1000, 2000, 4000]),
    paces: random.between(25, 45),
    isLate: profile.rates.network > 0 && random.chance(0.5),
    readMs: random.pick([0, 0, 5, 200]),
    writeMs: isCalm ? 1 : random.pick([1, 1, 5, 50, 300]),
    gossipLoss: isCalm ? 0 : random.pick([0, 0.2, 0.6]),
    breaks: isCalm ? 0 : random.pick([0.05, 0.2, 0.4]),
  }
}
