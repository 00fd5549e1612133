import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createCallList } from '../../coordinator/ledger/call-list.ts'

interface Item {
  readonly seq: number
}

/** A list of so many, from which the picked ones are removed, beside a plain array. */
const build = (length: number, picks: readonly number[]) => {
  const list = createCallList<Item>()
  const plain: Item[] = []
  for (let at = 1; at <= length; at += 1) {
    const item = { seq: 3 * at }
    list.append(item)
    plain.push(item)
  }
  for (const pick of picks) {
    const [item] = plain.splice(pick % Math.max(plain.length, 1), 1)
    if (item !== undefined) list.remove(item)
  }
  return { list, plain }
}

describe('the list of a function’s live calls', () => {
  test('gives any page as a plain list does, whatever was removed', () => {
    const picks = fc.array(fc.nat(2_000), { maxLength: 800, size: 'max' })
    const check = (length: number, removed: number[], before: number, limit: number): void => {
      const { list, plain } = build(length, removed)
      const page = plain.filter(({ seq }) => seq < before).slice(-limit)
      assert.deepEqual(list.pageBefore(before, limit), limit === 0 ? [] : page.toReversed())
      assert.deepEqual([...list], plain)
      assert.equal(list.size, plain.length)
    }
    fc.assert(fc.property(fc.nat(1_200), picks, fc.nat(4_000), fc.nat(700), check), {
      numRuns: 200,
    })
  })

  test('refuses a call that is not the newest, and one that it does not hold', () => {
    const { list } = build(3, [])
    assert.throws(() => list.append({ seq: 9 }), /higher number/)
    assert.throws(() => list.remove({ seq: 9 }), /in its list/)
  })
})
