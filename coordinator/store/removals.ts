/**
 * Files of bodies on their way out: removed after the commit that dropped them, one request after
 * another, and not before a snapshot that may still read them has been let go of (snapshot.ts). What
 * fails or is cut off stays on the disk until the next start sweeps it.
 */

import { assert } from '../../protocol/assert.ts'
import { messageOf } from '../../protocol/errors.ts'
import type { Drive } from './drive.ts'

export interface Removals {
  /** Returns at once. */
  remove(names: readonly string[]): void
  /** Nothing is removed until the pin is released. There is one at a time. */
  pin(): { release(): void }
  /** Resolves when all that may go has gone. */
  settled(): Promise<void>
}

export const createRemovals = (
  drive: Pick<Drive, 'removeFiles'>,
  onTrouble: (message: string) => void,
): Removals => {
  let removing: Promise<void> = Promise.resolve()
  /** Names that are held back; null while nothing is pinned. */
  let held: string[] | null = null

  const remove = (names: readonly string[]): void => {
    if (names.length === 0) return
    if (held !== null) {
      held.push(...names)
      return
    }
    removing = removing
      .then(() => drive.removeFiles(names))
      .catch((error: unknown) => onTrouble(`files could not be removed: ${messageOf(error)}`))
  }

  return {
    remove,
    pin() {
      assert(held === null, 'one snapshot is open')
      held = []
      return {
        release() {
          const names = held ?? []
          held = null
          remove(names)
        },
      }
    },
    settled: () => removing,
  }
}
