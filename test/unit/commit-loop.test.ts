import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createCommitLoop } from '../../coordinator/commit-loop.ts'
import { type Operation, put, putBody } from '../../coordinator/store/store.ts'

const MiB = 1024 * 1024
const large = new Uint8Array(MiB)

/** A disk whose commits end when the test says so. */
const createSlowDisk = () => {
  const batches: { readonly keys: string[]; readonly ended: PromiseWithResolvers<void> }[] = []
  let inFlight = 0
  return {
    batches,
    commit: async (operations: readonly Operation[]): Promise<void> => {
      inFlight += 1
      assert.equal(inFlight, 1, 'one batch is in flight')
      const ended = Promise.withResolvers<void>()
      batches.push({ keys: operations.map(({ key }) => key), ended })
      await ended.promise.finally(() => {
        inFlight -= 1
      })
    },
  }
}

const unexpected = (error: unknown): never => {
  throw error
}

/** All that is due before timers. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const setUp = (onFailure: (error: unknown) => void = unexpected) => {
  const disk = createSlowDisk()
  const loop = createCommitLoop(disk, onFailure)
  const done: string[] = []
  const add = (name: string, ...operations: Operation[]): void =>
    loop.add(operations, () => done.push(name))
  return { disk, loop, done, add }
}

describe('the commit loop', () => {
  test('puts all transitions of a tick into one batch, and what comes meanwhile into the next', async () => {
    const { disk, done, add } = setUp()
    add('one', put('call', 'a', 1), put('call', 'b', 1))
    add('two', put('call', 'c', 1))
    await turn()
    add('three', put('call', 'd', 1))
    add('four', put('call', 'e', 1))
    await turn()
    assert.deepEqual(
      disk.batches.map(({ keys }) => keys),
      [['a', 'b', 'c']],
    )
    assert.deepEqual(done, [])
    disk.batches[0]?.ended.resolve()
    await turn()
    assert.deepEqual(done, ['one', 'two'])
    assert.deepEqual(disk.batches[1]?.keys, ['d', 'e'])
    disk.batches[1]?.ended.resolve()
    await turn()
    assert.deepEqual(done, ['one', 'two', 'three', 'four'])
  })

  test('keeps the order where a transition writes nothing, and is settled only after all', async () => {
    const { disk, loop, done, add } = setUp()
    assert.equal(loop.isSettled(), true)
    add('write', put('call', 'a', 1))
    assert.equal(loop.isSettled(), false)
    await turn()
    add('tell')
    let isSettled = false
    const settled = loop.settled().then(() => {
      isSettled = true
    })
    await turn()
    assert.deepEqual([done, isSettled], [[], false])
    disk.batches[0]?.ended.resolve()
    await settled
    await turn()
    assert.deepEqual(done, ['write', 'tell'])
    assert.equal(disk.batches.length, 1, 'nothing is written for a transition without writes')
    assert.equal(loop.isSettled(), true)
  })

  test('bounds the bytes of a batch', async () => {
    const { disk, add } = setUp()
    for (let n = 0; n < 6; n += 1) add('output', putBody('stdout', `o${n}`, large))
    for (let n = 0; n < 6; n += 1) add('input', putBody('input', `p${n}`, large))
    const counts: number[] = []
    for (let batch = 0; batch < 2; batch += 1) {
      await turn()
      counts.push(disk.batches[batch]?.keys.length ?? 0)
      disk.batches[batch]?.ended.resolve()
    }
    await turn()
    assert.deepEqual(counts, [7, 5])
    assert.equal(disk.batches.length, 2)
  })

  test('counts rows as well: large ones bound a batch, and many small ones share one', async () => {
    const { disk, add } = setUp()
    for (let n = 0; n < 20; n += 1) add('func', put('func', `f${n}`, { text: 'x'.repeat(MiB) }))
    for (let n = 0; n < 5000; n += 1) add('call', put('call', `c${n}`, ['id', n, n]))
    await turn()
    assert.equal(disk.batches[0]?.keys.length, 7)
    for (let batch = 0; batch < 2; batch += 1) {
      disk.batches[batch]?.ended.resolve()
      await turn()
    }
    assert.equal(disk.batches[2]?.keys.length, 6 + 5000)
    disk.batches[2]?.ended.resolve()
  })

  test('writes a transition that is larger than a batch whole', async () => {
    const { disk, add } = setUp()
    const many = Array.from({ length: 20 }, (_, n) => putBody('stdout', `${n}`, large))
    add('large', ...many)
    await turn()
    assert.equal(disk.batches[0]?.keys.length, 20)
    disk.batches[0]?.ended.resolve()
  })

  test('tells nobody anything after a commit failed', async () => {
    const failures: unknown[] = []
    const { disk, loop, done, add } = setUp((error) => failures.push(error))
    add('one', put('call', 'a', 1))
    await turn()
    add('two', put('call', 'b', 1))
    const refused = new Error('disk full')
    disk.batches[0]?.ended.reject(refused)
    await turn()
    add('three', put('call', 'c', 1))
    await turn()
    assert.deepEqual(
      failures.map((error) => (error instanceof Error ? error.cause : error)),
      [refused],
    )
    assert.deepEqual(done, [])
    assert.equal(disk.batches.length, 1)
    assert.equal(loop.isSettled(), false)
  })

  test('closed, it has written what came before and takes no more', async () => {
    const { disk, loop, done, add } = setUp()
    add('one', put('call', 'a', 1))
    const closed = loop.close()
    await turn()
    disk.batches[0]?.ended.resolve()
    await closed
    add('two', put('call', 'b', 1))
    await turn()
    assert.deepEqual(done, ['one'])
    assert.equal(disk.batches.length, 1)
  })
})
