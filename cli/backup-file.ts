/**
 * Writes a backup as it comes and proves it on the way: the file has its name only once its last
 * frame was seen to be right and all of it is on the disk. 0600, because it holds every secret of
 * the coordinator.
 */

import { randomUUID } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import {
  BACKUP_PREFIX_BYTES,
  type BackupCounts,
  type BackupHead,
  checkBackupPrefix,
  readBackup,
} from '../protocol/backup.ts'
import { HyperError, isMissing, messageOf } from '../protocol/errors.ts'
import { syncFolder } from '../protocol/private-file.ts'

const PRIVATE = 0o600

export interface WrittenBackup extends BackupCounts {
  readonly head: BackupHead
  readonly bytes: number
}

type Write = (chunk: Uint8Array) => Promise<void>

/** What a backup says of itself, once all of it has passed. */
const readAll = async (
  frames: AsyncIterable<Uint8Array>,
): Promise<Omit<WrittenBackup, 'bytes'>> => {
  let head: BackupHead | undefined
  let counts: BackupCounts | undefined
  for await (const record of readBackup(frames)) {
    if (record.type === 'head') head = record
    if (record.type === 'end') {
      const { rows, bodies, files } = record
      counts = { rows, bodies, files }
    }
  }
  if (head === undefined || counts === undefined) {
    throw new HyperError('BACKUP_DAMAGED', 'the backup is empty')
  }
  return { head, ...counts }
}

/** What ends the stream early is the way to the coordinator, and not the file's. */
async function* arriving(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks
  } catch (cause) {
    throw new HyperError('UNREACHABLE', 'the backup broke off before its end', { cause })
  }
}

/** Takes the clear bytes off the front; gives the rest. */
async function* withoutPrefix(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let prefix: Buffer | null = Buffer.alloc(0)
  for await (const chunk of chunks) {
    if (prefix === null) {
      yield chunk
      continue
    }
    prefix = Buffer.concat([prefix, chunk])
    if (prefix.byteLength < BACKUP_PREFIX_BYTES) continue
    checkBackupPrefix(prefix, 'what came')
    yield prefix.subarray(BACKUP_PREFIX_BYTES)
    prefix = null
  }
  if (prefix !== null) checkBackupPrefix(prefix, 'what came')
}

/** Passes the bytes on while it checks them; rejects with the first thing that is wrong. */
export const proveBackup = async (
  chunks: AsyncIterable<Uint8Array>,
  write: Write,
): Promise<WrittenBackup> => {
  let bytes = 0
  async function* passing(): AsyncGenerator<Uint8Array> {
    for await (const chunk of arriving(chunks)) {
      bytes += chunk.byteLength
      await write(chunk)
      yield chunk
    }
  }
  try {
    // Like this the reader of the frames is the one who asks for bytes, and each failure is its own.
    const told = await pipeline(withoutPrefix(passing()), createGunzip(), readAll)
    return { ...told, bytes }
  } catch (cause) {
    if (cause instanceof HyperError) throw cause
    if (isOfZlib(cause)) {
      throw new HyperError('BACKUP_DAMAGED', `it cannot be unpacked: ${messageOf(cause)}`, {
        cause,
      })
    }
    throw cause
  }
}

const isOfZlib = (error: unknown): boolean =>
  error instanceof Error &&
  'code' in error &&
  typeof error.code === 'string' &&
  error.code.startsWith('Z_')

const fill = async (
  file: FileHandle,
  chunks: AsyncIterable<Uint8Array>,
): Promise<WrittenBackup> => {
  try {
    // The mode of `open` passes through the umask, which can take the owner's own bits away.
    await file.chmod(PRIVATE)
    const written = await proveBackup(chunks, async (chunk) => {
      await file.writeFile(chunk)
    })
    await file.sync()
    return written
  } finally {
    await file.close()
  }
}

/** The name that it has while it is not whole is nobody's but ours. */
const unwritable = (name: string, error: unknown): HyperError => {
  const folder = dirname(resolve(name))
  const why = isMissing(error)
    ? `there is no folder ${folder}`
    : messageOf(error).replace(/, \w+ '.*$/, '')
  return new HyperError('BAD_PARAMETER', `${name} cannot be written: ${why}`, { cause: error })
}

/** Replaces what has the name. Where it throws, the former file stands and nothing is beside it. */
export const writeBackupFile = async (
  name: string,
  chunks: AsyncIterable<Uint8Array>,
): Promise<WrittenBackup> => {
  const path = resolve(name)
  const temporary = `${path}.${randomUUID()}`
  const file = await open(temporary, 'wx', PRIVATE).catch((cause: unknown) => {
    throw unwritable(name, cause)
  })
  try {
    const written = await fill(file, chunks)
    await rename(temporary, path)
    await syncFolder(dirname(path))
    return written
  } catch (error) {
    await rm(temporary, { force: true })
    throw error instanceof HyperError ? error : unwritable(name, error)
  }
}
