/**
 * Holds a folder for this process. LevelDB's own lock is a POSIX one, which its owner loses by
 * closing any descriptor of the lock file, so an abstract socket named after the folder's inode is
 * held as well. Two paths to one folder are one folder. It vanishes with the process.
 */

import { stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { HyperError } from '../protocol/errors.ts'

export interface FolderLock {
  release(): Promise<void>
}

/** Throws STATE_IN_USE. */
export const lockFolder = async (folder: string): Promise<FolderLock> => {
  const { dev, ino } = await stat(folder)
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        cause.code === 'EADDRINUSE'
          ? new HyperError('STATE_IN_USE', `${folder} is in use by another process`, { cause })
          : cause,
      )
    })
    server.listen(`\0hyper-func:${dev}:${ino}`, resolve)
  })
  server.unref()
  return { release: () => new Promise((resolve) => server.close(() => resolve())) }
}
