/**
 * A power cut: what the disk itself held at one moment, without what was still in the page cache. The
 * disk is ext4 in a file on XFS, and a cut is a clone of that file (a reflink, in milliseconds) while a
 * process writes. kill -9 cannot show what is shown here, for the page cache outlives it. A disk that
 * lies about its own cache is not played.
 *
 * That the method finds what it looks for is shown by writers that leave a sync out.
 */

import assert from 'node:assert/strict'
import { constants, copyFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { openOutbox } from '../../agent/outbox.ts'
import { openStore } from '../../coordinator/store.ts'
import { eventually } from '../support/eventually.ts'
import { MiB, openLoopDisks, WITHOUT_DISKS } from '../support/loop-disk.ts'
import { checkOutbox } from '../support/outbox-workload.ts'
import { chooseSeed } from '../support/seed.ts'
import {
  checkContents,
  createExpectation,
  createWorkload,
  readContents,
} from '../support/store-workload.ts'
import { type Flaw, lastStep, startWriter } from '../support/writer.ts'

/** A cut comes anywhere between the writer's first word and this. */
const CUT_MS_MAX = 400

const openBench = async (t: TestContext) => {
  const disks = await openLoopDisks(t)
  const host = disks.file('host')
  await disks.format('xfs', host, 1024 * MiB)
  const under = await disks.mount(host)
  const [disk, clone] = [join(under, 'disk'), join(under, 'clone')]
  await disks.format('ext4', disk, 512 * MiB)
  const mount = await disks.mount(disk)
  return {
    env: disks.env,
    folder: (name: string) => join(mount, name),
    cut: () => copyFile(disk, clone, constants.COPYFILE_FICLONE_FORCE),
    /** Gives `check` the folder as it was at the last cut. */
    async afterCut(name: string, check: (folder: string) => Promise<void>): Promise<void> {
      const found = await disks.mount(clone)
      await check(join(found, name)).finally(async () => {
        await disks.unmount(found)
        await rm(clone)
      })
    },
  }
}

/** Resolves with what was lost in at most so many cuts, or with null. A folder takes three of them. */
const cutStore = async (t: TestContext, flaw: Flaw, cuts: number): Promise<unknown> => {
  const { seed, random } = chooseSeed(t)
  const bench = await openBench(t)
  const steps: number[] = []
  for (let cut = 0; cut < cuts; ) {
    const name = `state-${cut}`
    const workload = createExpectation(createWorkload(seed + cut))
    const writer = startWriter({
      ...{ what: 'store', folder: bench.folder(name), seed: seed + cut },
      ...{ flaw, env: bench.env },
    })
    await eventually(() => writer.lines.length > 0)
    for (const last = Math.min(cut + 3, cuts); cut < last; cut += 1) {
      await pause(random.below(CUT_MS_MAX))
      const acknowledged = lastStep(writer.lines)
      await bench.cut()
      const loss = await bench
        .afterCut(name, async (folder) => {
          const store = await openStore(folder)
          try {
            steps.push(checkContents(await readContents(store), workload, acknowledged))
          } finally {
            await store.close()
          }
        })
        .catch((error: unknown) => error)
      if (loss === undefined) continue
      await writer.kill()
      t.diagnostic(`after cut ${cut + 1}: ${String(loss).split('\n')[0]}`)
      return loss
    }
    await writer.kill()
  }
  t.diagnostic(`${cuts} cuts, at steps ${steps.join(', ')}`)
  return null
}

const cutOutbox = async (t: TestContext, flaw: Flaw, cuts: number): Promise<unknown> => {
  const { seed, random } = chooseSeed(t)
  const bench = await openBench(t)
  const said: number[] = []
  for (let cut = 0; cut < cuts; cut += 1) {
    const name = `home-${cut}`
    const writer = startWriter({
      ...{ what: 'outbox', folder: bench.folder(name), seed, flaw, env: bench.env },
    })
    await eventually(() => writer.lines.length > 0)
    await pause(random.below(CUT_MS_MAX))
    const before = [...writer.lines]
    await bench.cut()
    await writer.kill()
    said.push(before.length)
    const loss = await bench
      .afterCut(name, async (folder) => {
        const outbox = await openOutbox(folder)
        await checkOutbox(outbox, seed, before, writer.lines).finally(() => outbox.close())
      })
      .catch((error: unknown) => error)
    if (loss === undefined) continue
    t.diagnostic(`after cut ${cut + 1}: ${String(loss).split('\n')[0]}`)
    return loss
  }
  t.diagnostic(`${cuts} cuts, after ${said.join(', ')} lines`)
  return null
}

describe('a power cut', { skip: WITHOUT_DISKS }, () => {
  test('takes nothing of what the store acknowledged, and brings nothing back', async (t) => {
    assert.equal(await cutStore(t, 'none', 12), null)
  })

  test('takes nothing of what the outbox acknowledged', async (t) => {
    assert.equal(await cutOutbox(t, 'none', 6), null)
  })

  for (const flaw of ['unsynced rows', 'unsynced files'] as const) {
    test(`takes something of a store with ${flaw}`, async (t) => {
      assert.notEqual(await cutStore(t, flaw, 9), null)
    })
  }

  test('takes something of an outbox with unsynced rows', async (t) => {
    assert.notEqual(await cutOutbox(t, 'unsynced rows', 6), null)
  })
})
