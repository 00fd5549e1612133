/** Commits that the disk refuses: asked again and again, answered by nobody's guess. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createCommitLoop } from '../../coordinator/commit-loop.ts'
import { createStore, put, putBody } from '../../coordinator/store/store.ts'
import { HyperError } from '../../protocol/errors.ts'
import type { Outcome } from '../support/memory-drive.ts'
import { createStoreBench, INLINE_BYTES_MAX } from '../support/store-bench.ts'

const large = new Uint8Array(INLINE_BYTES_MAX + 1).fill(7)

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof HyperError && error.code === code

/** All that is due before timers, and what that brings about. */
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

/** A disk that refuses until it is told not to. */
const createFullDisk = () => {
  const bench = createStoreBench()
  let isFull = false
  let atFirst: Outcome = 'lost'
  let batches = 0
  return {
    ...bench,
    batches: () => batches,
    /** The batch in flight when it fills is written or not. */
    setFull(full: boolean, outcome: Outcome = 'lost') {
      isFull = full
      atFirst = outcome
    },
    openFull: (over: Parameters<typeof bench.open>[1] = {}) =>
      bench.open(
        {
          batch(): Outcome {
            batches += 1
            const outcome = isFull ? atFirst : 'done'
            atFirst = 'lost'
            return outcome
          },
          isRefusing: () => isFull,
        },
        over,
      ),
  }
}

describe('a commit that the disk refuses', () => {
  for (const outcome of ['lost', 'kept'] as const) {
    test(`resolves once the disk takes it again, once written (it was ${outcome})`, async () => {
      const bench = createFullDisk()
      const store = await bench.openFull()
      await store.commit([put('call', 'a', 1)])
      bench.setFull(true, outcome)
      let isDone = false
      const committed = store
        .commit([put('call', 'b', 2), putBody('input', '1', large)])
        .then(() => {
          isDone = true
        })
      await turns()
      assert.deepEqual([isDone, store.isWritable()], [false, false])
      assert.equal(await store.get('call', 'a'), 1, 'reads go on while the disk is full')
      bench.setFull(false)
      await committed
      assert.equal(store.isWritable(), true)
      assert.equal(bench.batches(), outcome === 'kept' ? 2 : 3)
      await store.commit([put('call', 'c', 3)])
      assert.deepEqual(await store.body('input', '1'), large)
      assert.equal(await store.get('call', 'b'), 2)
      const first = bench.troubles[0] ?? ''
      assert.match(first, /No space left/)
      assert.match(bench.troubles.at(-1) ?? '', /takes commits again/)
      await store.close()
      const again = await bench.open()
      await again.verify()
      assert.equal(await again.get('call', 'c'), 3)
    })
  }

  test('is answered to nobody before, and everything after it waits in order', async () => {
    const bench = createFullDisk()
    const store = await bench.openFull()
    const loop = createCommitLoop(store, (error) => {
      throw error
    })
    const told: string[] = []
    bench.setFull(true)
    loop.add([put('call', '1', 1)], () => told.push('first'))
    await turns()
    loop.add([put('call', '2', 1)], () => told.push('second'))
    await turns()
    assert.deepEqual(told, [])
    bench.setFull(false)
    await loop.settled()
    assert.deepEqual(told, ['first', 'second'])
    assert.equal(await store.get('call', '1'), 1)
  })

  test('ends with the store, and says that it was stopped', async () => {
    const bench = createFullDisk()
    const store = await bench.openFull({
      // For ever, unless the store is closed.
      pause: (_ms, signal) =>
        new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
    })
    bench.setFull(true)
    const refused = assert.rejects(store.commit([put('call', 'a', 1)]), hasCode('STOPPING'))
    await turns()
    await store.close()
    await refused
    await assert.rejects(store.get('call', 'a'), hasCode('STOPPING'))
  })

  test('of a disk that never opens again is given up, and so is every later one', async () => {
    const bench = createStoreBench()
    const refusing = await bench.open({
      batch: () => 'lost',
      isRefusing: () => {
        throw new Error('the folder is gone')
      },
    })
    await assert.rejects(refusing.commit([put('call', 'b', 1)]), /the folder is gone/)
    await assert.rejects(refusing.commit([put('call', 'c', 1)]), /the folder is gone/)
    assert.equal(refusing.isWritable(), false)
  })

  test('that comes back without what was acknowledged is damage, not a second try', async () => {
    const bench = createStoreBench()
    let isTorn = false
    const store = await bench.open({ batch: () => (isTorn ? 'lost' : 'done') })
    await store.commit([put('call', 'a', 1)])
    const former = bench.disk.tables.get('sums')?.get('all')
    assert.ok(former !== undefined)
    await store.commit([put('call', 'b', 1)])
    bench.disk.tables.get('sums')?.set('all', former)
    isTorn = true
    await assert.rejects(store.commit([put('call', 'c', 1)]), hasCode('STATE_DAMAGED'))
    assert.equal(bench.troubles.length, 1)
  })

  test('makes reads wait while the disk is opened again, and read again what failed', async () => {
    const bench = createStoreBench()
    let refusals = 0
    let reads = 0
    const opening = Promise.withResolvers<void>()
    const opened = Promise.withResolvers<void>()
    const disk = bench.disk.openDrive({ batch: () => (refusals-- > 0 ? 'lost' : 'done') })
    const store = await createStore(
      {
        ...disk,
        async getMany(rows) {
          if (rows[0]?.table !== 'call') return disk.getMany(rows)
          reads += 1
          if (reads > 1) return disk.getMany(rows)
          // The first is under way when the rows are taken away from it.
          await opening.promise
          throw new Error('the database is not open')
        },
        async reopen() {
          opening.resolve()
          await opened.promise
          await disk.reopen()
        },
      },
      {
        ...{ inlineBytesMax: INLINE_BYTES_MAX, pause: async () => undefined },
        onTrouble: () => undefined,
      },
    )
    await store.commit([put('call', 'a', 1)])
    const before = store.get('call', 'a')
    refusals = 1
    const committed = store.commit([put('call', 'b', 1)])
    await opening.promise
    const during = store.get('call', 'a')
    await turns()
    assert.equal(reads, 1, 'nobody reads while it is opened')
    opened.resolve()
    await committed
    assert.deepEqual(await Promise.all([before, during]), [1, 1])
  })
})
