import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createCallIndex } from '../../coordinator/ledger/call-index.ts'

interface Item {
  readonly id: string
}

const steps = fc.array(fc.tuple(fc.nat(300), fc.boolean()), { maxLength: 800 })

describe('the index of live calls', () => {
  test('finds what a map finds, whatever came and went', () => {
    const property = fc.property(steps, (taken) => {
      const index = createCallIndex<Item>()
      const model = new Map<string, Item>()
      for (const [number, isEnding] of taken) {
        const id = `call-${number}`
        const known = model.get(id)
        if (isEnding && known !== undefined) {
          index.delete(known)
          model.delete(id)
        } else if (!isEnding && known === undefined) {
          const item = { id }
          index.add(item)
          model.set(id, item)
        }
      }
      assert.equal(index.size, model.size)
      assert.deepEqual(new Set(index.values()), new Set(model.values()))
      for (let number = 0; number <= 300; number += 1) {
        const id = `call-${number}`
        assert.equal(index.get(id), model.get(id))
        assert.equal(index.has(id), model.has(id))
      }
    })
    fc.assert(property, { numRuns: 60 })
  })

  test('takes an id once, and lets go only of what it has', () => {
    const index = createCallIndex<Item>()
    const item = { id: 'a' }
    index.add(item)
    assert.throws(() => index.add({ id: 'a' }), /call ids are unique/)
    assert.throws(() => index.delete({ id: 'b' }), /is in the index/)
    index.delete(item)
    assert.throws(() => index.delete(item), /is in the index/)
    assert.equal(index.size, 0)
  })
})
