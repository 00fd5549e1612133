/**
 * Ends a function that fills the host's disk: overlay2 has no quota on most file systems.
 *
 *   idle ─► watching     a call runs: the free space is looked at every second, and up to ten times
 *                        as often where the fastest writer could soon be in danger (nextLookMs)
 *   watching ─► search   in danger: what the containers of our own running calls wrote is asked for,
 *                        one at a time; the one that wrote most is ended, if that was too much
 *   search ─► watching   nobody wrote much: not searched again until a good deal more was written, or
 *                        some seconds have passed
 *   watching ─► idle     no call runs
 *
 * Promised: one function that writes up to 1 GB/s on a disk of 20 GB or more (on a smaller one, a
 * twentieth of the disk a second) is ended before the floor is reached, if the engine finds and kills
 * it within two seconds; the floor is there for when it does not. Its files are gone with it.
 * Not promised: an end of many that each wrote little, together (below the floor no more are taken);
 * of what is written to volumes that an image declares, or by others than our calls; or to files so
 * many that the engine cannot add them up in ten seconds.
 */

import type { Log } from '../daemon/log.ts'
import type { AttemptKey } from '../protocol/call.ts'
import { messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { createActs } from './acts.ts'
import type { RunningAttempt } from './attempts.ts'
import type { Clock } from './clock.ts'
import type { Disk } from './disk.ts'
import { isInDanger, nextLookMs, rootfsBytesMaxOf, type Space } from './disk-marks.ts'

export interface DiskWatch {
  /** Calls began or ended. */
  touch(): void
  close(): Promise<void>
}

export interface DiskWatchDeps {
  readonly disk: Disk
  readonly running: () => readonly RunningAttempt[]
  readonly writtenBytes: (container: string, signal: AbortSignal) => Promise<number>
  /** Ends it as the function's failure; resolves when its files are gone. */
  readonly end: (key: AttemptKey, signal: AbortSignal) => Promise<void>
  readonly clock: Clock
  readonly log: Pick<Log, 'warn'>
}

interface Writer extends RunningAttempt {
  readonly bytes: number
}

export const createDiskWatch = (deps: DiskWatchDeps): DiskWatch => {
  const { disk, clock, log } = deps
  const acts = createActs()
  const { signal } = acts
  let isWatching = false
  let failed: { readonly atMs: number; readonly freeBytes: number } | null = null

  const pause = (ms: number): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const cancel = clock.after(ms, resolve)
    const stop = (): void => resolve()
    signal.addEventListener('abort', stop, { once: true })
    return promise.finally(() => {
      cancel()
      signal.removeEventListener('abort', stop)
    })
  }

  /** Null: the engine cannot say, or not in time. */
  const measure = async (attempt: RunningAttempt): Promise<Writer | null> => {
    try {
      return { ...attempt, bytes: await deps.writtenBytes(attempt.container, signal) }
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'what a container wrote cannot be told')
      return null
    }
  }

  const search = async (bytesMax: number): Promise<Writer | null> => {
    let worst: Writer | null = null
    for (const attempt of deps.running()) {
      if (signal.aborted) return null
      const writer = await measure(attempt)
      if (writer === null || writer.bytes <= Math.max(bytesMax, worst?.bytes ?? 0)) continue
      worst = writer
      // There is no time to look for a worse one.
      await disk.look()
      if (disk.trouble() !== '') return worst
    }
    return worst
  }

  const isDue = (space: Space): boolean =>
    failed === null ||
    clock.nowMs() - failed.atMs >= limits.writerSearchMs ||
    failed.freeBytes - space.freeBytes >= rootfsBytesMaxOf(space) * limits.writerSearchShare

  const defend = async (space: Space): Promise<void> => {
    if (!isDue(space)) return
    const writer = await search(rootfsBytesMaxOf(space))
    failed = writer === null ? { atMs: clock.nowMs(), freeBytes: space.freeBytes } : null
    if (writer === null || signal.aborted) return
    const { key, bytes } = writer
    log.warn(
      { call: key.call, bytes, freeBytes: space.freeBytes },
      'a call that fills the disk is ended',
    )
    const tooLong = AbortSignal.any([signal, AbortSignal.timeout(limits.startMsMax)])
    await deps.end(key, tooLong).catch((error: unknown) => {
      log.warn({ call: key.call, reason: messageOf(error) }, 'its files are still there')
    })
  }

  const watch = async (): Promise<void> => {
    while (!signal.aborted && deps.running().length > 0) {
      const space = await disk.look()
      if (space !== null && isInDanger(space)) await defend(space)
      await pause(space === null ? limits.diskLookMs : nextLookMs(space))
    }
    isWatching = false
    failed = null
  }

  return {
    touch() {
      if (isWatching || signal.aborted || deps.running().length === 0) return
      isWatching = true
      acts.start(watch())
    },
    close: acts.close,
  }
}
