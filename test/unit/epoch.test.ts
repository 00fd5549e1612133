import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { nextEpoch, raiseEpoch, watchEpochs } from '../../coordinator/epoch.ts'
import { limits } from '../../protocol/limits.ts'
import { createDisk } from '../support/ledger-disk.ts'

const seconds = fc.integer({ min: 0, max: 2 ** 40 })
const past = fc.record({ last: seconds, told: seconds })

describe('the epoch of a start', () => {
  test('is above the last one, and at least the wall clock’s seconds', async () => {
    const disk = createDisk()
    const start = async (wallMs: number) => (await raiseEpoch(disk, wallMs, false)).epoch
    assert.equal(await start(5_000_500), 5_000)
    assert.equal(await start(1_000), 5_001)
    assert.equal(await start(9_000_000), 9_000)
  })

  test('does not pass one that was told of, unless the operator raises it', async () => {
    const disk = createDisk()
    const first = await raiseEpoch(disk, 1_000_000, false)
    watchEpochs(first, disk.commitNow).told(5_000)
    assert.deepEqual(await raiseEpoch(disk, 9_000_000, false), { epoch: 4_999, told: 5_000 })
    assert.equal((await raiseEpoch(disk, 1_000, true)).epoch, 5_000 + limits.raisedEpochGap)
    assert.equal((await raiseEpoch(disk, 9_000_000, false)).epoch, 5_001 + limits.raisedEpochGap)
  })

  test('that was raised is not reached by the starts of a coordinator that knows nothing of it', () => {
    const wall = 1_000_000
    const raised = nextEpoch({ last: wall, told: 0 }, wall, true)
    let last = wall
    for (let day = 1; day <= 3_000; day += 1) {
      last = nextEpoch({ last, told: 0 }, wall + day * 86_400, false)
      assert.ok(last < raised)
    }
  })

  test('always grows, whatever was told', () => {
    fc.assert(
      fc.property(past, seconds, fc.boolean(), ({ last, told }, wall, isRaised) => {
        const next = nextEpoch({ last, told }, wall, isRaised)
        assert.ok(next > last)
        if (isRaised) assert.ok(next > told && next >= wall)
        else if (told > last + 1) assert.ok(next < told)
        else assert.ok(next >= wall || told > last)
      }),
    )
  })
})

describe('what is told of a later epoch', () => {
  const watch = (told = 0) => {
    const disk = createDisk()
    const watched = watchEpochs({ epoch: 1_000, told }, disk.commitNow)
    return { ...watched, kept: () => disk.value('meta', 'epoch-told') }
  }

  test('is remembered where it is the highest', () => {
    const { told, kept } = watch()
    told(1_001)
    assert.equal(kept(), 1_001)
    told(2_000)
    told(1_500)
    assert.equal(kept(), 2_000)
  })

  test('is not believed where no epoch can be so far ahead', () => {
    const { told, kept } = watch()
    for (const epoch of [1_000 + limits.epochAheadMax + 1, 2 ** 53, 1e300]) told(epoch)
    assert.equal(kept(), undefined)
    told(1_000 + limits.epochAheadMax)
    assert.equal(kept(), 1_000 + limits.epochAheadMax)
  })

  test('can be raised above for longer than anybody tries', () => {
    assert.ok(Number.MAX_SAFE_INTEGER / (limits.epochAheadMax + limits.raisedEpochGap) > 1_000_000)
  })
})
