/**
 * Whether the disk of the state folder has room for anything new. Looked at every second:
 *
 *   roomy ─► full     free space is below the floor: new calls, pulls and creations are refused
 *   full  ─► roomy    it is above it again
 *
 * What runs goes on ending, and caches go on rotating: the floor is there for them. While the store
 * waits for a disk that refuses to write, all is refused as well. A look that fails changes nothing:
 * what the disk then says to a write counts.
 */

import type { StatsFs } from 'node:fs'
import type { Log } from '../daemon/log.ts'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'

export type FreeSpace = Pick<StatsFs, 'bavail' | 'blocks' | 'bsize'>

interface Deps {
  readonly statfs: () => Promise<FreeSpace>
  readonly isWritable: () => boolean
  readonly log: Pick<Log, 'warn' | 'info'>
}

export interface DiskRoom {
  /** Throws DISK_FULL or DISK_FAILING. */
  check(): void
  /** Why nothing new is taken; null where it is. */
  trouble(): HyperError | null
  look(): Promise<void>
  close(): void
}

const MiB = 1024 * 1024
const inMiB = (bytes: number): string => `${Math.floor(bytes / MiB)} MB`

/** What is short of the floor, in words; null where there is room. */
export const shortOfRoom = ({ bavail, blocks, bsize }: FreeSpace): string | null => {
  const free = bavail * bsize
  const floor = Math.min(limits.diskFreeBytesMin, blocks * bsize * limits.diskFreeShareMin)
  if (free >= floor) return null
  return `the coordinator’s disk has ${inMiB(free)} free, under the floor of ${inMiB(floor)}`
}

/** Looks once before it resolves, then every second. */
export const openDiskRoom = async ({ statfs, isWritable, log }: Deps): Promise<DiskRoom> => {
  let shortage: string | null = null
  let isLooking = false

  const look = async (): Promise<void> => {
    // A hanging disk must not gather looks.
    if (isLooking) return
    isLooking = true
    try {
      const found = shortOfRoom(await statfs())
      if (found !== null && shortage === null) log.warn({ reason: found }, 'disk full')
      if (found === null && shortage !== null) log.info('the disk has room again')
      shortage = found
    } catch (error) {
      log.warn({ err: error }, 'the free space cannot be told')
    } finally {
      isLooking = false
    }
  }

  const trouble = (): HyperError | null => {
    if (!isWritable())
      return new HyperError('DISK_FAILING', 'the coordinator’s disk refuses writes')
    return shortage === null ? null : new HyperError('DISK_FULL', shortage)
  }

  await look()
  const timer = setInterval(() => {
    look().catch(() => undefined)
  }, limits.diskLookMs)
  return {
    trouble,
    look,
    check() {
      const found = trouble()
      if (found !== null) throw found
    },
    close: () => clearInterval(timer),
  }
}
