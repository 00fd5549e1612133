/**
 * What is on the disk when the power goes, or the process, while a process writes: all that it
 * acknowledged. And that the test would see a store that acknowledges too early.
 */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { openStore } from '../../coordinator/store.ts'
import { diskTest, makeFolder, mountCloneableDisk } from '../support/disk.ts'
import { startStoreProcess, type WriterMode } from '../support/store-process.ts'
import { checkWritten } from '../support/store-writing.ts'

const CUTS = 6
const KILLS = 5

/** Cuts the power while the process writes, so often; the first thing that was found wrong. */
const cutPower = async (context: TestContext, mode: WriterMode, cuts: number): Promise<unknown> => {
  const disk = await mountCloneableDisk(context)
  const writer = startStoreProcess(join(disk.path, 'store'), mode)
  try {
    for (let cut = 0; cut < cuts; cut += 1) {
      // Not always at the same place of a commit, nor with the same amount in memory.
      await writer.goOn(20 + 7 * cut)
      const acknowledged = writer.acknowledged()
      const clone = await disk.cutPower()
      try {
        const store = await openStore(join(clone.path, 'store'))
        try {
          await checkWritten(store, acknowledged)
        } finally {
          await store.close()
        }
      } catch (error) {
        return error
      }
      await clone.drop()
    }
  } finally {
    // Before its disk is unmounted.
    await writer.kill()
  }
  return null
}

describe('a power cut', () => {
  test(
    'takes nothing that was acknowledged, and leaves nothing half',
    diskTest,
    async (context) => {
      assert.equal(await cutPower(context, 'write', CUTS), null)
    },
  )

  for (const mode of ['early', 'unsynced'] as const) {
    test(
      `would be seen to take something from a store that is ${mode}`,
      diskTest,
      async (context) => {
        assert.notEqual(await cutPower(context, mode, CUTS), null)
      },
    )
  }
})

describe('a process that is killed', () => {
  test('has written all that it acknowledged, time after time', async (context) => {
    const folder = join(await makeFolder(context), 'store')
    for (let kill = 0; kill < KILLS; kill += 1) {
      const writer = startStoreProcess(folder)
      await writer.goOn(1 + 23 * kill)
      await writer.kill()
      const store = await openStore(folder)
      await checkWritten(store, writer.acknowledged())
      await store.close()
    }
  })
})
