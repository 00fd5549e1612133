import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStale } from '../../coordinator/hello.ts'

test('a hello is stale where a later one of the same store is known', () => {
  const known = { storeId: 's1', start: 3, greeting: 2 }
  const rows: readonly [storeId: string, start: number, greeting: number, stale: boolean][] = [
    ['s1', 3, 1, true],
    ['s1', 3, 2, false],
    ['s1', 3, 3, false],
    ['s1', 2, 9, true],
    ['s1', 4, 1, false],
    ['s2', 1, 1, false],
  ]
  for (const [storeId, start, greeting, stale] of rows) {
    assert.equal(
      isStale({ storeId, start, greeting }, known),
      stale,
      `${storeId} ${start} ${greeting}`,
    )
  }
  assert.equal(isStale(known, undefined), false)
})
