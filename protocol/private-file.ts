/**
 * Files that hold secrets or what a daemon must not lose: 0600, in a folder that is made 0700, and
 * there whole or not at all, also after a power cut. Each writer has a temporary name of its own;
 * of two that write at once the later one stands.
 *
 * Beside mesh/ the one file of protocol/ that does I/O: coordinator, agent and CLI share no other
 * room. It reads nothing, and keeps no lock.
 */

import { randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

const FILE_MODE = 0o600
const FOLDER_MODE = 0o700

/** Only with its folder synced does a new or renamed file survive a power cut. */
export const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const writeSynced = async (path: string, content: string | Uint8Array): Promise<void> => {
  const file = await open(path, 'wx', FILE_MODE)
  try {
    // The mode of `open` passes through the umask, which can take the owner's own bits away.
    await file.chmod(FILE_MODE)
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Replaces what is there. Where it throws, the former file stands and nothing is left beside it. */
export const writePrivateFile = async (
  path: string,
  content: string | Uint8Array,
): Promise<void> => {
  const folder = dirname(path)
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE })
  const temporary = `${path}.${randomUUID()}`
  try {
    await writeSynced(temporary, content)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(folder)
}
