/**
 * The books of the pool, a row for each kind of container: what stands ready, what is being started,
 * who waits, what was asked for. No act is done here; what follows from the books is in pool.ts.
 */

import { limits } from '../protocol/limits.ts'
import { allot, type Wish } from './allotment.ts'
import { type Demand, NO_DEMAND, raiseDemand, readyTarget } from './demand.ts'
import type { ContainerSpec, RunningContainer } from './runner/runner.ts'

export interface Waiter {
  readonly onTaken: (container: RunningContainer) => void
  readonly resolve: (container: RunningContainer) => void
  readonly reject: (error: unknown) => void
}

/** What fixes a container of a kind: all but the labels, which are each container's own. */
export type KindSpec = Omit<ContainerSpec, 'labels'>

export interface Kind {
  readonly key: string
  /** As it was last asked for: the image behind a key can have been pulled again. */
  spec: KindSpec
  demand: Demand
  askedMs: number
  /** The oldest first. */
  readonly ready: RunningContainer[]
  starting: number
  /** The one that has waited longest first. */
  readonly waiters: Waiter[]
  /** Starts that failed, one after the other. */
  failures: number
  /** No refill before that. */
  pausedUntilMs: number
}

interface Room {
  readonly containers: number
  readonly bytes: number
}

export interface Kinds {
  size(): number
  /** Asked for: by a call, or expected to be (`weight` below 1). Made where it is new. */
  ask(key: string, spec: KindSpec, nowMs: number, refillsPerMs: number, weight: number): Kind
  demandOf(key: string): Demand
  fail(kind: Kind, nowMs: number): void
  succeed(kind: Kind): void
  noteStart(tookMs: number): void
  startsPerMs(startsMax: number): number
  /** Which kind lacks most of what it is allotted; undefined where none may or need be started. */
  nextRefill(nowMs: number, room: Room, memoryFreeBytes: number): Kind | undefined
  /** Takes out what is more than its kind is allotted, the oldest first. */
  surplus(nowMs: number, room: Room): readonly RunningContainer[]
  /** Drops the kinds that nobody wants any more. */
  forget(nowMs: number): void
  ready(): ReadonlyMap<string, number>
  /** Stands ready. */
  has(id: string): boolean
}

/** Starts are this slow until some were seen. */
const FIRST_START_MS = 400
/** Weight of the last one in the mean, and the share of the rate that one kind can count on. */
const SMOOTHING = 0.2
const RATE_SHARE = 0.75

const bytesOf = ({ fence }: KindSpec): number =>
  fence.runtime !== '' ? limits.readySandboxBytes : limits.readyBytes

export const createKinds = (): Kinds => {
  const kinds = new Map<string, Kind>()
  let meanStartMs = FIRST_START_MS

  const wishes = (nowMs: number): Wish[] =>
    [...kinds.values()].map(({ key, demand, askedMs, spec }) => ({
      ...{ key, askedMs, target: readyTarget(demand, nowMs), bytes: bytesOf(spec) },
    }))

  /** Starts for those that wait are not for stock. */
  const stockOf = ({ ready, starting, waiters }: Kind): number =>
    ready.length + Math.max(0, starting - waiters.length)

  const isUnwanted = (kind: Kind, nowMs: number): boolean =>
    stockOf(kind) + kind.starting + kind.waiters.length === 0 &&
    readyTarget(kind.demand, nowMs) === 0

  const make = (key: string, spec: KindSpec): Kind => {
    const [oldest] = kinds.values()
    const isFull = kinds.size >= limits.readyKindsMax
    // Those asked for last stand last; one that is in use is not forgotten.
    if (isFull && oldest !== undefined && stockOf(oldest) + oldest.waiters.length === 0) {
      kinds.delete(oldest.key)
    }
    return {
      ...{ key, spec, demand: NO_DEMAND, askedMs: 0, ready: [], starting: 0, waiters: [] },
      ...{ failures: 0, pausedUntilMs: Number.NEGATIVE_INFINITY },
    }
  }

  return {
    size: () => kinds.size,
    ask(key, spec, nowMs, refillsPerMs, weight) {
      const kind = kinds.get(key) ?? make(key, spec)
      kinds.delete(key)
      kinds.set(key, kind)
      kind.spec = spec
      kind.askedMs = nowMs
      kind.demand = raiseDemand(kind.demand, nowMs, refillsPerMs, weight)
      return kind
    },
    demandOf: (key) => kinds.get(key)?.demand ?? NO_DEMAND,
    fail(kind, nowMs) {
      const pauseMs = limits.refillPauseMsMin * 2 ** Math.min(kind.failures, 20)
      kind.failures += 1
      kind.pausedUntilMs = nowMs + Math.min(limits.refillPauseMsMax, pauseMs)
    },
    succeed(kind) {
      kind.failures = 0
      kind.pausedUntilMs = Number.NEGATIVE_INFINITY
    },
    noteStart(tookMs) {
      meanStartMs += (tookMs - meanStartMs) * SMOOTHING
    },
    startsPerMs: (startsMax) => (RATE_SHARE * startsMax) / Math.max(1, meanStartMs),
    nextRefill(nowMs, room, memoryFreeBytes) {
      const allotted = allot(wishes(nowMs), room)
      let usedBytes = 0
      let best: Kind | undefined
      let bestShare = 1
      for (const kind of kinds.values()) {
        const stock = stockOf(kind)
        usedBytes += stock * bytesOf(kind.spec)
        const share = stock / (allotted.get(kind.key) ?? 0)
        if (nowMs < kind.pausedUntilMs || !(share < bestShare)) continue
        best = kind
        bestShare = share
      }
      if (best === undefined || usedBytes + bytesOf(best.spec) > memoryFreeBytes) return undefined
      return best
    },
    surplus(nowMs, room) {
      const allotted = allot(wishes(nowMs), room)
      return [...kinds.values()].flatMap(({ key, ready }) => {
        return ready.splice(0, Math.max(0, ready.length - (allotted.get(key) ?? 0)))
      })
    },
    forget(nowMs) {
      for (const kind of kinds.values()) if (isUnwanted(kind, nowMs)) kinds.delete(kind.key)
    },
    ready: () =>
      new Map(
        [...kinds.values()].flatMap(({ key, ready }) =>
          ready.length > 0 ? [[key, ready.length] as const] : [],
        ),
      ),
    has(id) {
      for (const { ready } of kinds.values()) {
        if (ready.some((container) => container.id === id)) return true
      }
      return false
    },
  }
}
