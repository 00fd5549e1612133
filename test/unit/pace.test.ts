import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { createPace } from '../../coordinator/pace.ts'
import { limits } from '../../protocol/limits.ts'
import { MiB, makeResult } from '../support/ledger-words.ts'

const key = { call: '01234567-89ab-4def-8123-456789abcdef', attempt: 1, epoch: 1 }
const result = makeResult(key, 'FINISHED', { stdout: new Uint8Array(MiB) })

test('an agent’s results are heard until so many bytes wait for the disk, then once it has them', async () => {
  const waits: (() => void)[] = []
  const pace = createPace(() => new Promise((resolve) => waits.push(resolve)))
  let heard = 0
  const hearing = (async () => {
    for (; heard < 10; heard += 1) await pace({ type: 'result', session: 1, key, result })
  })()
  const together = limits.unsettledBytesMax / MiB
  for (const wait of [1, 2]) {
    await turn()
    assert.deepEqual([waits.length, heard], [wait, wait * together - 1])
    waits.at(-1)?.()
  }
  await hearing
  assert.equal(waits.length, 2)
})

test('what is small does not wait for the disk', async () => {
  const pace = createPace(() => assert.fail('it waited'))
  for (let n = 0; n < 10_000; n += 1) await pace({ type: 'heartbeat', session: 1, attempts: [] })
  for (let n = 0; n < 100; n += 1) {
    await pace({ type: 'result', session: 1, key, result: makeResult(key) })
  }
})
