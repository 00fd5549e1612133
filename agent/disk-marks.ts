/**
 * What follows from the free space of the disk that the engine writes to. Pure.
 *
 *   0 … floor      no call is taken, none is made ready
 *   … danger       a function that fills the disk is looked for, and ended
 *   … evict        images that we pulled go, least recently used first, until `keep` is free
 *
 * A mark is a number of bytes, or a share of the disk where that is less: a reserve must not be
 * most of a small disk.
 */

import { limits } from '../protocol/limits.ts'

export interface Space {
  readonly freeBytes: number
  readonly allBytes: number
}

export const floorOf = ({ allBytes }: Space): number =>
  Math.min(limits.hostFreeBytesMin, allBytes * limits.hostFreeShareMin)

const dangerOf = ({ allBytes }: Space): number =>
  Math.min(limits.hostDangerBytes, allBytes * limits.hostDangerShare)

export const isFull = (space: Space): boolean => space.freeBytes < floorOf(space)

export const isInDanger = (space: Space): boolean => space.freeBytes < dangerOf(space)

export const mustEvict = ({ freeBytes, allBytes }: Space): boolean =>
  freeBytes < Math.min(limits.imagesEvictBytes, allBytes * limits.imagesEvictShare)

export const mayKeepImages = ({ freeBytes, allBytes }: Space): boolean =>
  freeBytes >= Math.min(limits.imagesKeepBytes, allBytes * limits.imagesKeepShare)

/** More than that in one container is what a disk in danger does not bear. */
export const rootfsBytesMaxOf = ({ allBytes }: Space): number =>
  Math.min(limits.rootfsBytesMax, allBytes * limits.rootfsShareMax)

/** So soon that the fastest writer cannot be in danger for long when it is looked again. */
export const nextLookMs = (space: Space): number => {
  const untilDangerMs = (1000 * (space.freeBytes - dangerOf(space))) / limits.writerBytesPerSecond
  return Math.min(limits.diskLookMs, Math.max(limits.hostLookMsMin, untilDangerMs))
}

const MiB = 1024 * 1024
const inMiB = (bytes: number): string => `${Math.floor(bytes / MiB)} MB`

/** Why no call is taken, in words; '' where they are. */
export const troubleOf = (space: Space): string =>
  isFull(space)
    ? `the disk is full: ${inMiB(space.freeBytes)} free, under the floor of ${inMiB(floorOf(space))}`
    : ''
