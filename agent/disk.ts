/**
 * The free space of the disk that the engine's containers write to.
 *
 *   roomy ─► full     a look found less than the floor: no calls are taken, adverts say so
 *   full  ─► roomy    a look found more
 *
 * Somebody must look: with every advert, and often while calls run (disk-watch.ts). Where nobody can
 * tell (the engine's folder is hidden from us, and our home as well) it counts as roomy. That another
 * disk may be watched than the one meant is said once.
 */

import type { StatsFs } from 'node:fs'
import type { Log } from '../daemon/log.ts'
import { type Space, troubleOf } from './disk-marks.ts'

export type StatFs = (path: string) => Promise<Pick<StatsFs, 'bavail' | 'blocks' | 'bsize'>>

export interface Disk {
  /** Null: nobody could tell. Looks that come together are one. */
  look(): Promise<Space | null>
  /** Why no call is taken, as of the last look; '' where they are. */
  trouble(): string
}

export interface DiskDeps {
  readonly statfs: StatFs
  /** The engine's folder, then what tells as well where that is hidden. */
  readonly paths: () => readonly string[]
  readonly log: Pick<Log, 'info' | 'warn'>
  /** It has become full, or roomy. */
  readonly onChange: () => void
}

const spaceOf = async (
  statfs: StatFs,
  paths: readonly string[],
): Promise<{ readonly space: Space; readonly path: string } | null> => {
  for (const path of paths) {
    try {
      const { bavail, blocks, bsize } = await statfs(path)
      return { space: { freeBytes: bavail * bsize, allBytes: blocks * bsize }, path }
    } catch {
      // The engine's folder may not be ours to see: the next path tells.
    }
  }
  return null
}

export const createDisk = ({ statfs, paths, log, onChange }: DiskDeps): Disk => {
  let trouble = ''
  let isStandInTold = false
  let looking: Promise<Space | null> | null = null

  const look = async (): Promise<Space | null> => {
    const wanted = paths()
    const seen = await spaceOf(statfs, wanted)
    const space = seen?.space ?? null
    if (seen !== null && seen.path !== wanted[0] && !isStandInTold) {
      isStandInTold = true
      const words =
        'the engine’s folder is not seen from here: another disk is watched in its place'
      log.warn({ folder: wanted[0], watched: seen.path }, words)
    }
    const found = space === null ? '' : troubleOf(space)
    const hasChanged = (found === '') !== (trouble === '')
    trouble = found
    if (!hasChanged) return space
    if (found === '') log.info('the disk has room again: calls are taken')
    else log.warn({ reason: found }, 'no calls are taken')
    onChange()
    return space
  }

  return {
    look() {
      looking ??= look().finally(() => {
        looking = null
      })
      return looking
    },
    trouble: () => trouble,
  }
}
