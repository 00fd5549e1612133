/** The coordinator's core over a real store, whose disk refuses for a while. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import { createCore } from '../../coordinator/core.ts'
import type { Store } from '../../coordinator/store/store.ts'
import { storedFunc } from '../support/fake-ports.ts'
import { makeTerms } from '../support/ledger-words.ts'
import type { Outcome } from '../support/memory-drive.ts'
import { createStoreBench, INLINE_BYTES_MAX } from '../support/store-bench.ts'

const stored = storedFunc()
const terms = makeTerms({ funcId: stored.id, accountId: stored.accountId })
const wall = '2017-03-16T07:05:24.473Z'

const openCore = async (store: Store) => {
  const core = createCore({
    ...{ store, epoch: 1, nowMs: () => 0, wall: () => wall, newCallId: randomUUID },
    funcs: () => ({
      byId: () => stored,
      revision: () => stored,
      has: () => true,
      terms: () => terms,
    }),
    agents: () => ({ assign: () => undefined, send: () => undefined, welcome: () => undefined }),
    ...{ onLogged: () => undefined, onEnded: () => undefined, isStopping: () => false },
    onFault(error) {
      throw error
    },
  })
  await core.load([{ id: stored.accountId, quota: 100 }])
  await store.verify()
  return core
}

const request = (bytes: number) => ({
  ...{ stored, environment: [], note: '' },
  payload: new Uint8Array(bytes).fill(1),
})

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

describe('a call that comes while the disk refuses', () => {
  for (const outcome of ['lost', 'kept'] as const) {
    test(`is answered once it is durable and not before (the batch was ${outcome})`, async () => {
      const bench = createStoreBench()
      let isFull = false
      let first: Outcome = outcome
      const store = await bench.open({
        batch() {
          if (!isFull) return 'done'
          const now = first
          first = 'lost'
          return now
        },
        isRefusing: () => isFull,
      })
      const core = await openCore(store)
      const before = await core.calls.accept(request(1))
      isFull = true
      const answered: string[] = []
      const accepting = [INLINE_BYTES_MAX, 10 * INLINE_BYTES_MAX, 1].map(async (bytes) => {
        const id = await core.calls.accept(request(bytes))
        answered.push(id)
        return id
      })
      await turns()
      assert.deepEqual(answered, [])
      assert.equal(store.isWritable(), false)
      isFull = false
      const ids = await Promise.all(accepting)
      assert.deepEqual(answered, ids)
      // Nothing is closed: the process dies here.
      bench.disk.crash()
      const again = await openCore(await bench.open())
      const waiting = await again.calls.list(stored.id, 10, null)
      const found = waiting.map(({ callId }) => callId).toReversed()
      assert.deepEqual(found, [before, ...ids], 'in the order in which they came')
    })
  }
})

test('a status tells nothing that a crash would forget: it waits for the commit', async () => {
  const bench = createStoreBench()
  let isFull = false
  const store = await bench.open({
    batch: () => (isFull ? 'lost' : 'done'),
    isRefusing: () => isFull,
  })
  const { calls } = await openCore(store)
  isFull = true
  const { callId } = calls.acceptSync(request(1))
  let state = ''
  const finding = calls.find(stored.id, callId).then((view) => {
    state = view?.state ?? 'none'
  })
  await turns()
  const early = state
  isFull = false
  await finding
  assert.deepEqual([early, state], ['', 'pending'])
})
