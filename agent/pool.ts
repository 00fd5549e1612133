/**
 * Containers started ahead, each for exactly one call: it waits in hyper-init for its one frame, and
 * no code of the function has run in it. A kind (protocol/ready-key.ts) is what fixes a container.
 *
 *   starting ─► taken      a call of its kind waits: the one that has waited longest gets it
 *   starting ─► ready      nobody waits
 *   starting ─► failed     who waits longest is told why; else its kind is left alone for a while
 *   ready ─► taken         by a call: the oldest first. It never comes back; the attempt owns it now
 *   ready ─► retired       more than its kind is allotted: removed
 *   ready ─► lost          its streams ended (the engine went down, somebody removed it): removed
 *
 * A call that finds none waits for the next container of its kind: starts for such calls go before
 * refills, in the order of the calls. Refills wait for a lull (lull.ts), for an engine that is up and
 * a disk with room.
 * How many stand ready follows the demand (demand.ts), within the memory (allotment.ts). Starts side
 * by side are bounded near the number of cores, because more only make each other wait.
 *
 * A call costs the same however many kinds there are; a refill looks at each kind once.
 */

import type { Log } from '../daemon/log.ts'
import { messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { Clock } from './clock.ts'
import { readyTarget } from './demand.ts'
import type { Lull } from './lull.ts'
import { createKinds, type Kind, type KindSpec, type Waiter } from './pool-kinds.ts'
import {
  cancelled,
  type OwnContainer,
  type Runner,
  type RunningContainer,
} from './runner/runner.ts'
import { createTurns } from './turns.ts'

export interface Pool {
  /**
   * One container, for this caller alone. `onTaken` is called in the same moment in which the pool
   * lets go of it. Rejects with why none could be started, or as soon as the signal is aborted.
   */
  take(
    key: string,
    spec: KindSpec,
    signal: AbortSignal,
    onTaken: (container: RunningContainer) => void,
  ): Promise<RunningContainer>
  /** A call of this kind may come soon. */
  prepare(key: string, spec: KindSpec): void
  /** How many stand ready, by kind. */
  ready(): ReadonlyMap<string, number>
  /** Whether it stands ready, or is being started. */
  owns(container: OwnContainer): boolean
  /** Removes what stands ready; what is being started is removed when it is there. */
  close(): Promise<void>
}

export interface PoolDeps {
  readonly runner: Pick<Runner, 'start' | 'remove'>
  /** Of this process of the agent: on every container that it starts. */
  readonly boot: string
  readonly clock: Clock
  readonly lull: Lull
  readonly log: Log
  readonly startsMax: () => number
  /** What may stand ready in all, and how much memory is free of calls. */
  readonly room: () => { readonly containers: number; readonly bytes: number }
  readonly memoryFreeBytes: () => number
  readonly isUp: () => boolean
  readonly isDiskFull: () => boolean
  /** The numbers of what stands ready have changed. */
  readonly onChange: () => void
}

const BOOT = 'hyper.boot'
const START = 'hyper.start'

export const createPool = (deps: PoolDeps): Pool => {
  const { runner, clock, lull, log } = deps
  const kinds = createKinds()
  const closing = new AbortController()
  const removals = createTurns(limits.removalsMax)
  /** Kinds for each of whose waiters no start is under way, in the order in which they came. */
  let misses: Kind[] = []
  /** Numbers of starts under way. */
  const starts = new Set<number>()
  let lastStart = 0
  /** Starts and removals under way. */
  const underWay = new Set<Promise<void>>()
  let cancelRefill: (() => void) | null = null
  let refillSinceMs: number | null = null
  let cancelTidy: (() => void) | null = null

  const follow = (act: Promise<void>): void => {
    const done = act.finally(() => underWay.delete(done))
    underWay.add(done)
  }

  const remove = async (id: string): Promise<void> => {
    const signal = AbortSignal.timeout(limits.startMsMax)
    try {
      await removals.run(signal, () => runner.remove(id, signal))
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'a container that stood ready is left to the sweep')
    }
  }

  const retire = (container: RunningContainer): void => {
    container.detach()
    follow(remove(container.id))
  }

  const keep = (kind: Kind, container: RunningContainer): void => {
    kind.ready.push(container)
    const lose = (): void => {
      const at = kind.ready.indexOf(container)
      if (at < 0) return
      kind.ready.splice(at, 1)
      // One that dies by itself would die again at once.
      if (deps.isUp()) kinds.fail(kind, clock.nowMs())
      retire(container)
      changed()
    }
    container.ended.then(lose, lose)
  }

  const give = (waiter: Waiter, container: RunningContainer): void => {
    waiter.onTaken(container)
    waiter.resolve(container)
  }

  const arrived = (kind: Kind, container: RunningContainer): void => {
    kinds.succeed(kind)
    const waiter = kind.waiters.shift()
    if (closing.signal.aborted) retire(container)
    else if (waiter === undefined) keep(kind, container)
    else give(waiter, container)
  }

  const failed = (kind: Kind, error: unknown): void => {
    kinds.fail(kind, clock.nowMs())
    const waiter = kind.waiters.shift()
    if (waiter !== undefined) waiter.reject(error)
    else if (!closing.signal.aborted && deps.isUp()) {
      log.warn({ reason: messageOf(error), image: kind.spec.image }, 'no container made ready')
    }
  }

  const begin = (kind: Kind): void => {
    lastStart += 1
    const number = lastStart
    const startedMs = clock.nowMs()
    starts.add(number)
    kind.starting += 1
    const labels = { [BOOT]: deps.boot, [START]: `${number}` }
    const over = (act: () => void): void => {
      kind.starting -= 1
      act()
      starts.delete(number)
      changed()
      pump()
    }
    const start = runner.start({ ...kind.spec, labels }, closing.signal).then(
      (container) =>
        over(() => {
          kinds.noteStart(clock.nowMs() - startedMs)
          arrived(kind, container)
        }),
      (error: unknown) => over(() => failed(kind, error)),
    )
    follow(start)
  }

  const nextMiss = (): Kind | undefined => {
    for (let kind = misses.shift(); kind !== undefined; kind = misses.shift()) {
      if (kind.waiters.length > kind.starting) return kind
    }
    return undefined
  }

  /** Later, where it is not the time yet. */
  const nextRefill = (): Kind | undefined => {
    if (!deps.isUp() || deps.isDiskFull()) return undefined
    const nowMs = clock.nowMs()
    refillSinceMs ??= nowMs
    const leftMs = lull.leftMs(refillSinceMs)
    if (leftMs > 0) {
      cancelRefill ??= clock.after(leftMs, () => {
        cancelRefill = null
        pump()
      })
      return undefined
    }
    const kind = kinds.nextRefill(nowMs, deps.room(), deps.memoryFreeBytes())
    // Once patience is at its end, all goes that is wanted: not one, and then patience again.
    if (kind === undefined) refillSinceMs = null
    return kind
  }

  const pump = (): void => {
    while (!closing.signal.aborted && starts.size < deps.startsMax()) {
      const kind = nextMiss() ?? nextRefill()
      if (kind === undefined) return
      begin(kind)
    }
  }

  const tidy = (): void => {
    cancelTidy = null
    for (const container of kinds.surplus(clock.nowMs(), deps.room())) retire(container)
    kinds.forget(clock.nowMs())
    changed()
    pump()
  }

  const changed = (): void => {
    if (kinds.size() > 0 && !closing.signal.aborted) {
      cancelTidy ??= clock.after(limits.readyTidyMs, tidy)
    }
    deps.onChange()
  }

  const refillsPerMs = (): number => kinds.startsPerMs(deps.startsMax())

  const wait = (kind: Kind, signal: AbortSignal, onTaken: Waiter['onTaken']) =>
    new Promise<RunningContainer>((resolve, reject) => {
      const onAbort = (): void => {
        const at = kind.waiters.indexOf(waiter)
        if (at >= 0) kind.waiters.splice(at, 1)
        reject(cancelled())
      }
      const waiter: Waiter = {
        onTaken,
        resolve: (container) => {
          signal.removeEventListener('abort', onAbort)
          resolve(container)
        },
        reject: (error) => {
          signal.removeEventListener('abort', onAbort)
          reject(error)
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      kind.waiters.push(waiter)
      if (kind.waiters.length > kind.starting) misses.push(kind)
      pump()
    })

  return {
    async take(key, spec, signal, onTaken) {
      if (signal.aborted || closing.signal.aborted) {
        throw cancelled()
      }
      lull.touch()
      const kind = kinds.ask(key, spec, clock.nowMs(), refillsPerMs(), 1)
      const ready = kind.ready.shift()
      if (ready === undefined) return wait(kind, signal, onTaken)
      onTaken(ready)
      changed()
      pump()
      return ready
    },
    prepare(key, spec) {
      if (closing.signal.aborted) return
      // Below one call: with the spare that is one container, not two.
      const weight = 1 / limits.readySpareRatio
      if (readyTarget(kinds.demandOf(key), clock.nowMs()) === 0) {
        kinds.ask(key, spec, clock.nowMs(), refillsPerMs(), weight)
      }
      changed()
      pump()
    },
    ready: () => kinds.ready(),
    owns: ({ id, labels }) =>
      kinds.has(id) || (labels[BOOT] === deps.boot && starts.has(Number(labels[START]))),
    async close() {
      closing.abort()
      cancelRefill?.()
      cancelTidy?.()
      misses = []
      for (const container of kinds.surplus(clock.nowMs(), { containers: 0, bytes: 0 })) {
        retire(container)
      }
      while (underWay.size > 0) await Promise.all(underWay)
    },
  }
}
