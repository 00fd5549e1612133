import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { Drive } from '../../coordinator/store/drive.ts'
import { openLevelDrive } from '../../coordinator/store/level-drive.ts'
import { createStore, type Store } from '../../coordinator/store/store.ts'
import { createMemoryDisk, type Outcome } from '../support/memory-drive.ts'
import { checkStore, INLINE_BYTES_MAX, type StoreBench } from '../support/store-suite.ts'

/** Runs over a drive in memory; one over LevelDB costs ten times as much, so there are fewer. */
const RUNS = Number(process.env.SEEDS ?? 120)
const LEVEL_RUNS = Math.ceil(RUNS / 10)

/** Refusals end after two: a store that goes on trying forgot something. */
const PAUSES_MAX = 100

const openOn = (drive: Drive): Promise<Store> => {
  let pauses = 0
  return createStore(drive, {
    inlineBytesMax: INLINE_BYTES_MAX,
    pause: async () => {
      pauses += 1
      assert.ok(pauses < PAUSES_MAX, 'the store tries for ever')
    },
    onTrouble: () => undefined,
  })
}

const OUTCOMES: readonly Outcome[] = ['lost', 'kept', 'torn']

const makeMemoryBench = async (): Promise<StoreBench> => {
  const disk = createMemoryDisk()
  let next: Outcome[] = []
  /** Steps until the process stands still. */
  let steps = Number.POSITIVE_INFINITY
  const faults = {
    batch: (): Outcome => next.shift() ?? 'done',
    turn: (): Promise<void> => {
      steps -= 1
      return steps < 0 ? new Promise(() => undefined) : Promise.resolve()
    },
  }
  return {
    open: () => openOn(disk.openDrive(faults)),
    refuse(isWritten) {
      next = isWritten ? ['kept'] : ['lost', 'lost']
    },
    async crash(commit, point) {
      steps = point % 6
      await Promise.race([commit(), new Promise(setImmediate)])
      disk.crash(() => OUTCOMES[point % OUTCOMES.length] ?? 'lost')
      steps = Number.POSITIVE_INFINITY
    },
    files: async () => [...disk.files.keys()],
    remove: async () => undefined,
  }
}

const makeLevelBench = async (): Promise<StoreBench> => {
  const folder = await mkdtemp(join(tmpdir(), 'hyper-store-'))
  let refusals: boolean[] = []
  let drive: Drive | undefined
  return {
    async open() {
      const opened = await openLevelDrive(folder)
      drive = opened
      return openOn({
        ...opened,
        async batch(operations) {
          const isWritten = refusals.shift()
          if (isWritten !== false) await opened.batch(operations)
          if (isWritten !== undefined) throw new Error('refused')
        },
      })
    },
    refuse(isWritten) {
      refusals = isWritten ? [true] : [false, false]
    },
    files: () => readdir(join(folder, 'blobs')),
    async remove() {
      await drive?.close().catch(() => undefined)
      await rm(folder, { recursive: true })
    },
  }
}

describe('the store and its model', () => {
  test('agree over a drive in memory, through refusals and crashes at every step', async () => {
    await checkStore(makeMemoryBench, RUNS)
  })

  test('agree over LevelDB and files, through refusals and reopenings', async () => {
    await checkStore(makeLevelBench, LEVEL_RUNS)
  })
})
