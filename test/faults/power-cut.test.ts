/**
 * A power cut: what the disk itself holds at a random moment while a process writes, without what the
 * system still keeps in memory. kill -9 cannot show this, for the page cache outlives it. A disk that
 * lies about its own cache is not played.
 *
 * That the method finds what it looks for is shown by writers that leave something out.
 */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { openOutbox } from '../../agent/outbox.ts'
import { openStore } from '../../coordinator/store/store.ts'
import { diskTest, mountCloneableDisk } from '../support/disk.ts'
import { eventually } from '../support/eventually.ts'
import { checkOutbox } from '../support/outbox-workload.ts'
import { chooseSeed } from '../support/seed.ts'
import { checkStore, createExpectation, createWorkload } from '../support/store-workload.ts'
import { type Flaw, lastStep, startWriter } from '../support/writer.ts'

/** A cut comes anywhere between the writer's first word, or the last cut, and this. */
const CUT_MS_MAX = 300
const CUTS_OF_A_FOLDER = 3

/** Throws what is wrong with a store as a cut left it; resolves with the step it stands at. */
const checkFolder = async (
  folder: string,
  ...expected: [ReturnType<typeof createExpectation>, number]
) => {
  const store = await openStore(folder)
  try {
    return await checkStore(store, ...expected)
  } finally {
    await store.close()
  }
}

/** Throws what the first of so many cuts took. */
const cutStore = async (t: TestContext, flaw: Flaw, cuts: number): Promise<void> => {
  const { seed, random } = chooseSeed(t)
  const disk = await mountCloneableDisk(t)
  const steps: number[] = []
  for (let cut = 0; cut < cuts; ) {
    const own = seed + cut
    const name = `state-${cut}`
    const expectation = createExpectation(createWorkload(own))
    const writer = startWriter({ what: 'store', folder: join(disk.path, name), seed: own, flaw })
    try {
      await eventually(() => writer.lines.length > 0)
      for (const last = Math.min(cut + CUTS_OF_A_FOLDER, cuts); cut < last; cut += 1) {
        await pause(random.below(CUT_MS_MAX))
        const acknowledged = lastStep(writer.lines)
        const clone = await disk.cutPower()
        steps.push(await checkFolder(join(clone.path, name), expectation, acknowledged))
        await clone.drop()
      }
    } finally {
      await writer.kill()
    }
  }
  t.diagnostic(`cut at steps ${steps.join(', ')}`)
}

const cutOutbox = async (t: TestContext, flaw: Flaw, cuts: number): Promise<void> => {
  const { seed, random } = chooseSeed(t)
  const disk = await mountCloneableDisk(t)
  for (let cut = 0; cut < cuts; cut += 1) {
    const name = `home-${cut}`
    const writer = startWriter({ what: 'outbox', folder: join(disk.path, name), seed, flaw })
    await eventually(() => writer.lines.length > 0)
    await pause(random.below(CUT_MS_MAX))
    const before = [...writer.lines]
    // At once: what it deletes after the cut says nothing about the cut.
    const clone = await disk.cutPower(writer.kill)
    const outbox = await openOutbox(join(clone.path, name))
    const checked = await checkOutbox(outbox, seed, before, writer.lines).finally(() =>
      outbox.close(),
    )
    assert.ok(checked > 0, 'nothing was left to look for')
    t.diagnostic(`cut after ${before.length} lines, looked for ${checked}`)
    await clone.drop()
  }
}

describe('a power cut', () => {
  test('takes nothing that the store acknowledged, and brings nothing back', diskTest, (t) =>
    cutStore(t, 'none', 9),
  )

  test('takes nothing that the outbox acknowledged', diskTest, (t) => cutOutbox(t, 'none', 4))

  const flaws: readonly (readonly [Flaw, RegExp])[] = [
    ['early acknowledgements', /was acknowledged/],
    ['unsynced rows', /was acknowledged|STATE_DAMAGED|damaged|lost/],
    ['unsynced files', /does not match its checksum|is missing/],
  ]
  for (const [flaw, loss] of flaws) {
    test(`is seen to take something of a store with ${flaw}`, diskTest, async (t) => {
      await assert.rejects(cutStore(t, flaw, 9), loss)
    })
  }

  test('is seen to take something of an outbox with unsynced rows', diskTest, async (t) => {
    await assert.rejects(cutOutbox(t, 'unsynced rows', 6), /was acknowledged/)
  })
})
