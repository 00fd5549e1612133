/**
 * Says what is free here: on every change, but not more often than the pause allows, and as a slow
 * heartbeat, which is jittered: agents that began together must not go on together. Adverts are soft:
 * one that nobody heard is said again a moment later.
 *
 *   planned ─ its time has come ─► saying ─ heard ─► planned, as a heartbeat
 *      ▲ changed: sooner              └─ not heard, or not published ─► planned, after the pause
 *   any ─ close ─► closed, once what is being said is said
 */

import type { Log } from '../daemon/log.ts'
import type { Advert } from '../protocol/advert.ts'
import { messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { Attempts } from './attempts.ts'
import type { Clock } from './clock.ts'
import type { Disk } from './disk.ts'
import type { Images } from './images.ts'

export interface Advertiser {
  /** Something that an advert tells has changed. */
  changed(): void
  close(): Promise<void>
}

export interface AdvertiserDeps {
  readonly attempts: Pick<Attempts, 'free' | 'isDraining'>
  /** Whether the engine answers, and has run a container of ours. */
  readonly isReady: () => boolean
  readonly images: Pick<Images, 'keys' | 'changes'>
  /** How many containers stand ready, by kind. */
  readonly ready: () => ReadonlyMap<string, number>
  readonly disk: Disk
  /** False: there was nobody to hear it. */
  readonly publish: (advert: Advert) => Promise<boolean>
  readonly clock: Clock
  /** 0 to 1. */
  readonly random: () => number
  readonly log: Log
}

/** The kinds with the most ones, as many as an advert holds. */
const readyOf = (ready: ReadonlyMap<string, number>): Advert['ready'] =>
  [...ready]
    .map(([key, count]) => ({ key, count }))
    .sort((a, b) => b.count - a.count)
    .slice(0, limits.advertReadyMax)

export const startAdvertiser = (deps: AdvertiserDeps): Advertiser => {
  const { attempts, disk, clock, log } = deps
  const closing = new AbortController()
  let sequence = 0
  let images: readonly string[] = []
  let looked: { readonly changes: number; readonly atMs: number } | undefined
  let cancel: (() => void) | undefined
  let nextAt = 0
  let saying: Promise<void> = Promise.resolve()

  /** Others may add and remove images as well: those show with the heartbeat. */
  const lookAtImages = async (): Promise<void> => {
    const now = { changes: deps.images.changes(), atMs: clock.nowMs() }
    const isFresh = looked?.changes === now.changes && now.atMs - looked.atMs < limits.advertMs / 2
    if (isFresh) return
    images = await deps.images.keys(closing.signal).catch(() => images)
    looked = now
  }

  const make = async (): Promise<Advert> => {
    const engineUp = deps.isReady()
    if (engineUp) await lookAtImages()
    const free = attempts.free()
    const space = await disk.look()
    sequence += 1
    return {
      sequence,
      slotsFree: engineUp ? free.slots : 0,
      memoryFreeBytes: engineUp ? free.memoryBytes : 0,
      // Some file systems of a network have no end.
      diskFreeBytes: Math.min(space?.freeBytes ?? 0, Number.MAX_SAFE_INTEGER),
      diskFull: disk.trouble() !== '',
      engineUp,
      draining: attempts.isDraining(),
      images: [...images],
      ready: readyOf(deps.ready()),
    }
  }

  const say = async (): Promise<void> => {
    let isHeard = false
    try {
      isHeard = await deps.publish(await make())
    } catch (error) {
      log.debug({ reason: messageOf(error) }, 'advert not published')
    }
    plan(isHeard ? heartbeatMs() : limits.advertPauseMs)
  }

  const heartbeatMs = (): number => limits.advertMs * (1 - limits.advertJitterRatio * deps.random())

  const plan = (delayMs: number): void => {
    const at = clock.nowMs() + delayMs
    if (closing.signal.aborted || (cancel !== undefined && nextAt <= at)) return
    cancel?.()
    nextAt = at
    cancel = clock.after(delayMs, () => {
      cancel = undefined
      saying = saying.then(say)
    })
  }

  plan(0)
  return {
    changed: () => plan(limits.advertPauseMs),
    async close() {
      closing.abort()
      cancel?.()
      await saying
    },
  }
}
