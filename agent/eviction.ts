/**
 * Removes images that we pulled when the disk gets full: the least recently used first, until there is
 * room again. Not one that was used of late, unless the disk is in danger: it would be pulled again at
 * once. Never one of the host's owner:
 *
 *   it has a tag that we did not pull     it is not ours any more; stays
 *   the engine refuses to remove it       our own containers use it: later; else it is not ours any more
 *   it is gone                            forgotten
 *
 * It is off the list, on disk where that takes it, before it is removed: else one that its owner
 * pulled again could be taken for ours after a crash. (An owner who pulls, by the very tag, what we
 * have pulled before, leaves no trace of it: that image counts as ours.) A round that fails ends; the
 * next one comes by itself.
 */

import type { Log } from '../daemon/log.ts'
import { messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { Disk } from './disk.ts'
import { isInDanger, mayKeepImages, mustEvict } from './disk-marks.ts'
import type { PulledImage, PulledImages } from './pulled-images.ts'

export interface ImageRemoval {
  /** Null: there is no such image. */
  tags(id: string, signal: AbortSignal): Promise<readonly string[] | null>
  /** Unforced. False: the engine refuses, because something uses it. */
  remove(id: string, signal: AbortSignal): Promise<boolean>
  /** Whether a function container, of any agent, uses it. */
  isUsedByCalls(id: string, signal: AbortSignal): Promise<boolean>
}

export interface EvictionDeps {
  readonly disk: Pick<Disk, 'look'>
  readonly pulled: PulledImages
  readonly removal: ImageRemoval
  readonly nowMs: () => number
  readonly onEvicted: (id: string) => void
  readonly log: Pick<Log, 'info' | 'warn'>
}

/** One round of eviction; never rejects. One at a time. */
export const createEviction = (deps: EvictionDeps): ((signal: AbortSignal) => Promise<void>) => {
  const { disk, pulled, removal, log } = deps
  let isLooking = false

  const evict = async (image: PulledImage, signal: AbortSignal): Promise<void> => {
    const { id } = image
    const tags = await removal.tags(id, signal)
    await pulled.drop(id)
    if (tags === null) return
    if (tags.some((tag) => !image.tags.includes(tag))) {
      log.info({ image: id, tags }, 'a pulled image has got another name: it stays')
      return
    }
    let isLater = true
    try {
      const isRemoved = await removal.remove(id, signal)
      isLater = !isRemoved && (await removal.isUsedByCalls(id, signal))
      if (!isRemoved) return
      log.info({ image: id, tags }, 'a pulled image is removed: the disk gets full')
      deps.onEvicted(id)
    } finally {
      if (isLater) pulled.restore(image)
    }
  }

  const evictSome = async (signal: AbortSignal): Promise<void> => {
    const first = await disk.look()
    if (first === null || !mustEvict(first)) return
    for (const image of pulled.list()) {
      const space = await disk.look()
      if (signal.aborted || space === null || mayKeepImages(space)) return
      const isIdle = deps.nowMs() - image.usedMs >= limits.imagesIdleMsMin
      if (!isIdle && !isInDanger(space)) return
      await evict(image, signal)
    }
  }

  return async (signal) => {
    if (isLooking) return
    isLooking = true
    try {
      await evictSome(signal)
    } catch (error) {
      if (!signal.aborted)
        log.warn({ reason: messageOf(error) }, 'a pulled image could not be removed')
    } finally {
      isLooking = false
    }
  }
}
