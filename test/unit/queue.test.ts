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
      queue.leave()
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

  test('holds nothing of what ended behind a head that stays', () => {
    let looks = 0
    const queue = createQueue<Item>((item) => {
      looks += 1
      return item.isWaiting
    })
    const items = Array.from({ length: 100_000 }, (_, seq) => ({ seq, isWaiting: true }))
    for (const item of items) queue.append(item)
    // The first and the last stay: the others are reached by no head, and stand behind nobody.
    for (const item of items.slice(1, -1)) {
      item.isWaiting = false
      queue.leave()
    }
    assert.ok(queue.countBefore(Infinity) < 3_000, 'ended ones are let go of')
    assert.ok(looks < 500_000, 'each is looked at a few times at the most')
    assert.equal(queue.head()?.seq, 0)
  })

  test('tells how many stand before a call', () => {
    const queue = createQueue<Item>((item) => item.isWaiting)
    for (let seq = 1; seq <= 10; seq += 1) queue.append({ seq, isWaiting: true })
    queue.take()
    assert.deepEqual([queue.countBefore(2), queue.countBefore(10)], [0, 8])
  })
})

/** All are pushed, some taken out of the middle, the rest popped. */
const removeSome = (numbers: readonly number[], picks: readonly number[]): void => {
  const places = new Map<number, number>()
  const heap = createHeap<{ readonly value: number; readonly id: number }>(
    (left, right) => left.value < right.value,
    ({ id }, at) => places.set(id, at),
  )
  const left = new Map<number, number>()
  numbers.forEach((value, id) => {
    heap.push({ value, id })
    left.set(id, value)
  })
  for (const pick of picks) {
    const id = [...left.keys()][pick % Math.max(left.size, 1)]
    if (id === undefined) return
    heap.removeAt(places.get(id) ?? -1)
    left.delete(id)
  }
  const values: number[] = []
  for (let next = heap.pop(); next !== undefined; next = heap.pop()) values.push(next.value)
  assert.deepEqual(
    values,
    [...left.values()].sort((a, b) => a - b),
  )
}

test('a heap gives up an item from its middle, and stays in order', () => {
  const many = (maxLength: number) => fc.array(fc.nat(1000), { maxLength, size: 'max' })
  fc.assert(fc.property(many(60), many(40), removeSome), {
    numRuns: 500,
  })
})

test('a heap gives its elements in order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (numbers) => {
      const heap = createHeap<number>((left, right) => left < right)
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
