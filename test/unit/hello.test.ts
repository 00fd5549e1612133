import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createGreetings, isStale, judgeSecond } from '../../coordinator/hello.ts'

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

test('of two processes with one key the later one goes on', () => {
  const former = { storeId: 's1', start: 3, greeting: 2, instance: 'a' }
  const rows: readonly [hello: Partial<typeof former>, what: string][] = [
    [{ greeting: 3 }, 'over'],
    // Heard late, and the same process.
    [{ greeting: 1 }, 'over'],
    // Killed and started again, while its former line is half open.
    [{ start: 4, greeting: 1, instance: 'b' }, 'replaced'],
    // A copy of the whole host, started as often.
    [{ greeting: 1, instance: 'b' }, 'replaced'],
    [{ storeId: 's2', start: 1, greeting: 1, instance: 'b' }, 'replaced'],
    // The one that was replaced, after its own line broke.
    [{ start: 2, greeting: 9, instance: 'b' }, 'later'],
  ]
  for (const [change, what] of rows) {
    assert.equal(judgeSecond({ ...former, ...change }, former), what, JSON.stringify(change))
  }
})

test('a copy’s hello proves nothing: what runs elsewhere is not in its notes', () => {
  const greetings = createGreetings()
  const hello = { storeId: 's1', start: 3, greeting: 1 }
  const take = (of: object) => {
    const { isStale: isOld, isCopy } = greetings.take('agent', { ...hello, ...of })
    return [isOld, isCopy]
  }
  assert.deepEqual(take({ instance: 'a' }), [false, false])
  assert.deepEqual(take({ instance: 'b' }), [true, true])
  assert.deepEqual(take({ greeting: 2, instance: 'b' }), [false, false])
  assert.deepEqual(take({ greeting: 1, instance: 'b' }), [true, false], 'it was long on its way')
  assert.deepEqual(take({ start: 2, instance: 'b' }), [true, true], 'its disk was set back')
  assert.equal(greetings.judge('another', hello), 'over')
})
