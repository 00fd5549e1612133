import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createHeap } from '../../coordinator/ledger/heap.ts'
import { createQueue } from '../../coordinator/ledger/queue.ts'

interface Item {
  readonly seq: number
  isWaiting: boolean
}

const act = fc.constantFrom('append', 'append', 'take', 'take', 'giveBack', 'end', 'head')

/** Against a plain list of what waits. */
const play = (acts: readonly string[], picks: readonly number[]): void => {
  const queue = createQueue<Item>((item) => item.isWaiting)
  const waiting = new Map<number, Item>()
  const taken: Item[] = []
  let seq = 0
  const least = (): Item | undefined => waiting.get(Math.min(...waiting.keys()))
  acts.forEach((kind, at) => {
    const pick = picks[at % picks.length] ?? 0
    if (kind === 'append') {
      seq += 1
      const item = { seq, isWaiting: true }
      waiting.set(seq, item)
      queue.append(item)
    } else if (kind === 'take') {
      const expected = least()
      const item = queue.take()
      assert.equal(item, expected)
      if (item === undefined) return
      item.isWaiting = false
      waiting.delete(item.seq)
      taken.push(item)
    } else if (kind === 'giveBack') {
      const [item] = taken.splice(pick % Math.max(taken.length, 1), 1)
      if (item === undefined) return
      item.isWaiting = true
      waiting.set(item.seq, item)
      queue.giveBack(item)
    } else if (kind === 'end') {
      const item = [...waiting.values()][pick % Math.max(waiting.size, 1)]
      if (item === undefined) return
      item.isWaiting = false
      waiting.delete(item.seq)
    }
    assert.equal(queue.head(), least())
    for (const item of waiting.values()) {
      const before = [...waiting.keys()].filter((other) => other < item.seq).length
      assert.ok(queue.countBefore(item.seq) >= before)
    }
  })
}

describe('the queue', () => {
  test('always has the oldest waiting call at its head', () => {
    const picks = fc.array(fc.nat(1000), { minLength: 1, maxLength: 20 })
    fc.assert(fc.property(fc.array(act, { maxLength: 200 }), picks, play), { numRuns: 300 })
  })

  test('takes 200,000 calls in and out, many of them ended meanwhile, in no time', () => {
    const queue = createQueue<Item>((item) => item.isWaiting)
    const items = Array.from({ length: 200_000 }, (_, seq) => ({ seq, isWaiting: seq % 3 > 0 }))
    const startMs = performance.now()
    for (const item of items) queue.append(item)
    let count = 0
    for (let item = queue.take(); item !== undefined; item = queue.take()) {
      item.isWaiting = false
      count += 1
    }
    assert.equal(count, items.filter((item) => item.seq % 3 > 0).length)
    assert.ok(performance.now() - startMs < 2_000)
  })

  test('tells how many stand before a call', () => {
    const queue = createQueue<Item>((item) => item.isWaiting)
    for (let seq = 1; seq <= 10; seq += 1) queue.append({ seq, isWaiting: true })
    queue.take()
    assert.deepEqual([queue.countBefore(2), queue.countBefore(10)], [0, 8])
  })
})

test('a heap gives its elements in order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (numbers) => {
      const heap = createHeap<number>((number) => number)
      for (const number of numbers) heap.push(number)
      const sorted: number[] = []
      for (let next = heap.pop(); next !== undefined; next = heap.pop()) sorted.push(next)
      assert.deepEqual(
        sorted,
        numbers.toSorted((a, b) => a - b),
      )
      assert.equal(heap.size, 0)
    }),
  )
})
