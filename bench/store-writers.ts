/** Writers in closed loops on a disk of their own: each waits for its write before the next. */

import { mkdtemp, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createCommitLoop } from '../coordinator/commit-loop.ts'
import { openLevelDrive } from '../coordinator/level-drive.ts'
import { createStore, type Operation } from '../coordinator/store.ts'

/** Latencies in ms of every write that ended, by series. */
export type Latencies = Record<string, number[]>

export interface Series {
  readonly name: string
  readonly writers: number
  /** One durable write. */
  readonly write: (number: number) => Promise<void>
}

/** Runs all series side by side for so long. */
export const runWriters = async (series: readonly Series[], ms: number): Promise<Latencies> => {
  const latencies: Latencies = {}
  const endMs = performance.now() + ms
  let number = 0
  const work = async ({ name, write }: Series): Promise<void> => {
    const own = latencies[name] ?? []
    latencies[name] = own
    while (performance.now() < endMs) {
      const start = performance.now()
      number += 1
      await write(number)
      own.push(performance.now() - start)
    }
  }
  await Promise.all(series.flatMap((one) => Array.from({ length: one.writers }, () => work(one))))
  return latencies
}

const withFolder = async <T>(use: (folder: string) => Promise<T>): Promise<T> => {
  const folder = await mkdtemp('/tmp/hyper-bench-')
  return use(folder).finally(() => rm(folder, { recursive: true, force: true }))
}

/** The store as the coordinator has it: transitions share commits, one commit in flight. */
export const withStore = <T>(
  inlineBytesMax: number,
  use: (commit: (operations: readonly Operation[]) => Promise<void>) => Promise<T>,
): Promise<T> =>
  withFolder(async (folder) => {
    const store = await createStore(await openLevelDrive(folder), {
      pause: (ms, signal) => pause(ms, undefined, { signal }).catch(() => undefined),
      onTrouble: (message) => console.error(message),
      inlineBytesMax,
    })
    await store.verify()
    const loop = createCommitLoop(store, (error) => {
      throw error
    })
    try {
      return await use((operations) => new Promise((resolve) => loop.add(operations, resolve)))
    } finally {
      await loop.close()
      await store.close()
    }
  })

/**
 * The least that durability costs: the bytes of all writes that wait go to the end of one file, and
 * one fdatasync is shared by them; nothing is encoded, checked, or found again.
 */
export const withRawFile = <T>(use: (append: (bytes: Uint8Array) => Promise<void>) => Promise<T>) =>
  withFolder(async (folder) => {
    const file = await open(join(folder, 'raw'), 'w')
    let waiting: { readonly bytes: Uint8Array; readonly done: () => void }[] = []
    let isBusy = false
    const run = async (): Promise<void> => {
      while (waiting.length > 0) {
        const batch = waiting
        waiting = []
        await file.write(Buffer.concat(batch.map(({ bytes }) => bytes)))
        await file.datasync()
        for (const { done } of batch) done()
      }
      isBusy = false
    }
    const append = (bytes: Uint8Array): Promise<void> =>
      new Promise((resolve, reject) => {
        waiting.push({ bytes, done: resolve })
        if (isBusy) return
        isBusy = true
        queueMicrotask(() => run().catch(reject))
      })
    return use(append).finally(() => file.close())
  })
