/**
 * A drive that outlasts refusals: a write resolves once it is durable and does not reject for a disk
 * that is full for an hour. LevelDB's write errors are sticky and leave the outcome unknown, so:
 *
 *   open        writes and reads go through.     A write rejected → refused.
 *   refused     reads still go through, the write waits, nothing else is written. After a pause that
 *               grows the disk is probed; it takes bytes → reopening.
 *   reopening   reads wait. Closed, opened, the number of the last commit read: the write's own → it
 *               was durable all along; the one before → it is written again, with its files. Either
 *               way → open. Rejected → refused; where the rows cannot be read, reads go on waiting.
 *   closed      for good, by `settle`. What waited rejects with STOPPING.
 *
 * A full disk is waited for without end. What else keeps the drive from being opened is waited for
 * `reopenMs`; then, and when the disk has lost commits it had acknowledged, the write rejects, and so
 * does every later one: what the disk holds is not what the caller believes.
 */

import { assert } from '../../protocol/assert.ts'
import { HyperError, messageOf } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { BlobFile, Drive, RawOperation } from './drive.ts'
import { isDamage } from './survey.ts'

interface Write {
  /** The number that `operations` leave behind as the last commit's. */
  readonly commit: number
  readonly files: readonly BlobFile[]
  readonly operations: readonly RawOperation[]
}

interface Deps {
  readonly drive: Drive
  /** Read from the disk. */
  readonly lastCommit: () => Promise<number>
  /** Resolves early when the signal is aborted. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>
  readonly onTrouble: (message: string) => void
}

export interface SteadyDrive {
  /** Durable when it resolves. One at a time. */
  write(write: Write): Promise<void>
  /** A read that meets a reopening is made again after it. */
  read<T>(act: (drive: Drive) => Promise<T>): Promise<T>
  isWritable(): boolean
  /** Ends what waits for the disk; the drive can be closed then. */
  settle(): Promise<void>
}

const FULL = ['ENOSPC', 'EDQUOT']

const isFull = (error: unknown): boolean =>
  error instanceof Error &&
  (('code' in error && typeof error.code === 'string' && FULL.includes(error.code)) ||
    /No space left|quota exceeded/i.test(error.message) ||
    isFull(error.cause))

const closed = (cause?: unknown): HyperError =>
  new HyperError('STOPPING', 'the store was closed', { cause })

export const createSteadyDrive = ({ drive, lastCommit, pause, onTrouble }: Deps): SteadyDrive => {
  const stopping = new AbortController()
  let isWritable = true
  let isWriting = false
  let writing: Promise<void> = Promise.resolve()
  let failure: { readonly error: unknown } | null = null
  /** Set while rows cannot be read. */
  let reopened: PromiseWithResolvers<void> | null = null
  /** How often the rows were taken away from readers. */
  let reopenings = 0

  const takeReaders = (): void => {
    reopenings += 1
    if (reopened !== null) return
    reopened = Promise.withResolvers()
    // Nobody may be waiting when it is rejected.
    reopened.promise.catch(() => undefined)
  }

  const letReaders = (): void => {
    reopened?.resolve()
    reopened = null
  }

  const writeOnce = async ({ files, operations }: Write): Promise<void> => {
    if (files.length > 0) await drive.writeFiles(files)
    await drive.batch(operations)
  }

  /** Whether the write is known to be durable; if not, it is known not to be there at all. */
  const reopen = async ({ commit }: Write): Promise<boolean> => {
    takeReaders()
    await drive.reopen()
    const last = await lastCommit()
    letReaders()
    if (last === commit || last === commit - 1) return last === commit
    throw new HyperError(
      'STATE_DAMAGED',
      `after a write error the disk is at commit ${last}, not at ${commit}`,
    )
  }

  /** Resolves with what stands in the way, or with null once the write is durable. */
  const tryAgain = async (write: Write): Promise<unknown> => {
    try {
      await drive.probe()
      if (!(await reopen(write))) await writeOnce(write)
      return null
    } catch (error) {
      if (isDamage(error)) throw error
      return error
    }
  }

  const insist = async (write: Write, refusal: unknown): Promise<void> => {
    isWritable = false
    let pauseMs: number = limits.reopenPauseMsMin
    let troubledMs = 0
    for (let trouble = refusal; trouble !== null; trouble = await tryAgain(write)) {
      onTrouble(`the disk refused a commit, which is tried again: ${messageOf(trouble)}`)
      troubledMs = isFull(trouble) ? 0 : troubledMs + pauseMs
      if (troubledMs > limits.reopenMs) throw trouble
      await pause(pauseMs, stopping.signal)
      if (stopping.signal.aborted) throw closed(trouble)
      pauseMs = Math.min(2 * pauseMs, limits.reopenPauseMsMax)
    }
    isWritable = true
    onTrouble('the disk takes commits again')
  }

  return {
    async write(write) {
      assert(!isWriting, 'one commit is in flight')
      if (failure !== null) throw failure.error
      if (stopping.signal.aborted) throw closed()
      isWriting = true
      writing = writeOnce(write).catch((error: unknown) => insist(write, error))
      try {
        await writing
      } catch (error) {
        failure = { error }
        throw error
      } finally {
        isWriting = false
      }
    },
    async read(act) {
      for (;;) {
        await reopened?.promise
        if (stopping.signal.aborted) throw closed()
        const before = reopenings
        try {
          return await act(drive)
        } catch (error) {
          if (before === reopenings) throw error
        }
      }
    },
    isWritable: () => isWritable,
    async settle() {
      stopping.abort()
      await writing.catch(() => undefined)
      reopened?.reject(closed())
    },
  }
}
