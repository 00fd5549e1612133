/**
 * The agent's hand on the dead man's switch: while it lives it rewrites a counter, in place, in
 * the file beside every hyper-init. A hyper-init that sees no change for 10 min ends its child.
 *
 * The file is kept open (its mode lets nobody else write) and is never renamed: containers see the
 * same inode through their mount. A turn that fails is told once, and tried again in time.
 */

import { chmod, constants, type FileHandle, open } from 'node:fs/promises'
import { limits } from '../protocol/limits.ts'

const COUNTER_BYTES = 8
const OPEN_MODE = 0o644
const SHUT_MODE = 0o444

export interface DeadMan {
  /** Turns now, beside the regular turns. */
  turn(): Promise<void>
  /** Stops turning and closes the files. Containers that still run get their 10 minutes. */
  close(): Promise<void>
}

/** Opens a switch for turning, making it where it is missing. Others can only read it. */
const openSwitch = async (path: string): Promise<FileHandle> => {
  const flags = constants.O_RDWR | constants.O_CREAT
  const handle = await open(path, flags, OPEN_MODE).catch(async () => {
    // Not root: the mode that we gave it keeps us out as well.
    await chmod(path, OPEN_MODE)
    return open(path, flags)
  })
  await handle.chmod(SHUT_MODE)
  return handle
}

/** Turns every switch at once, then regularly, until closed. */
export const startDeadMan = async (
  paths: readonly string[],
  onError: (error: unknown) => void,
): Promise<DeadMan> => {
  const handles = await Promise.all(paths.map(openSwitch))
  const counter = Buffer.alloc(COUNTER_BYTES)
  // It starts at the time of day, so that no restart can write what stands there already.
  let turns = BigInt(Date.now())
  let isTold = false
  const turn = async (): Promise<void> => {
    turns += 1n
    counter.writeBigUInt64LE(turns)
    try {
      for (const handle of handles) await handle.write(counter, 0, COUNTER_BYTES, 0)
      isTold = false
    } catch (error) {
      if (!isTold) onError(error)
      isTold = true
    }
  }
  let turning = turn()
  await turning
  const turnNext = (): Promise<void> => {
    turning = turning.then(turn)
    return turning
  }
  const timer = setInterval(turnNext, limits.switchTurnMs)
  return {
    turn: turnNext,
    async close() {
      clearInterval(timer)
      await turning
      await Promise.all(handles.map((handle) => handle.close()))
    },
  }
}
