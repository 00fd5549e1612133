import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createRowIndex } from '../../coordinator/store/row-index.ts'

const numbers = fc.array(fc.tuple(fc.nat(400), fc.nat(3), fc.boolean()), { maxLength: 600 })

describe('the index of live rows', () => {
  for (const isByValue of [true, false]) {
    test(`is that of the rows that are left, however they came (by value: ${isByValue})`, () => {
      const property = fc.property(numbers, (steps) => {
        const index = createRowIndex(isByValue)
        const model = new Map<string, number>()
        for (const [number, checksum, isDeleted] of steps) {
          const key = `f/${number}`
          if (isDeleted) model.delete(key)
          else model.set(key, checksum)
          if (isDeleted) index.delete(key)
          else index.put(key, checksum)
        }
        const fresh = createRowIndex(isByValue)
        for (const [key, checksum] of model) fresh.put(key, checksum)
        assert.deepEqual(index.sum(), fresh.sum())
        assert.equal(index.sum().count, model.size)
        for (let number = 0; number <= 400; number += 1) {
          assert.equal(index.has(`f/${number}`), model.has(`f/${number}`))
        }
      })
      fc.assert(property, { numRuns: 60 })
    })
  }

  test('holds many rows and lets go of them in any order', () => {
    const index = createRowIndex(true)
    const count = 50_000
    for (let n = 0; n < count; n += 1) index.put(`${n}`, n)
    for (let n = 0; n < count; n += 3) index.delete(`${n}`)
    for (let n = 0; n < count; n += 1) assert.equal(index.has(`${n}`), n % 3 !== 0)
    for (let n = 0; n < count; n += 1) index.delete(`${n}`)
    assert.deepEqual(index.sum(), createRowIndex(true).sum())
  })

  test('tells a row from its former value, and one key from another', () => {
    const sumOf = (key: string, checksum: number) => {
      const index = createRowIndex(true)
      index.put(key, checksum)
      return index.sum()
    }
    const sums = [sumOf('a', 1), sumOf('a', 2), sumOf('b', 1), sumOf('ab', 1), sumOf('ba', 1)]
    assert.equal(new Set(sums.map(({ low }) => low)).size, sums.length)
    assert.equal(new Set(sums.map(({ high }) => high)).size, sums.length)
  })
})
