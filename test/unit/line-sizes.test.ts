import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createLineSizes } from '../../coordinator/line-sizes.ts'

const append = fc.record({ skipped: fc.nat({ max: 3 }), bytes: fc.integer({ min: 1, max: 9999 }) })
const steps = fc.array(fc.oneof(append, fc.constant('drop' as const)), { maxLength: 200 })

describe('the sizes of a log’s lines', () => {
  test('are those of a map from number to size, of which the oldest goes', () => {
    const property = fc.property(steps, fc.nat({ max: 50 }), (script, start) => {
      const lines = createLineSizes()
      const model = new Map<number, number>()
      let last = start
      for (const step of script) {
        if (step !== 'drop') {
          last += 1 + step.skipped
          lines.append(last, step.bytes)
          model.set(last, step.bytes)
        } else if (model.size > 0) {
          lines.dropFirst()
          model.delete(Math.min(...model.keys()))
        }
        if (model.size > 0 || last > start) {
          assert.equal(lines.last(), last)
          assert.equal(lines.first(), model.size === 0 ? last + 1 : Math.min(...model.keys()))
        }
        for (let seq = 0; seq <= last + 2; seq += 1) {
          assert.equal(lines.bytesOf(seq), model.get(seq) ?? 0)
        }
      }
    })
    fc.assert(property)
  })

  test('begin with the first line', () => {
    const lines = createLineSizes()
    assert.deepEqual([lines.first(), lines.last()], [1, 0])
  })
})
