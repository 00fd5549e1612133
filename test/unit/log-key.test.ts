import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { logKey, logRange, parseLogKey } from '../../coordinator/log-key.ts'

const count = fc.nat({ max: 2 ** 40 })
const end = fc.record({ seq: count, stderrBytes: count }, { noNullPrototype: true })
const line = fc.record(
  { seq: fc.integer({ min: 1, max: 2 ** 40 }), bytes: count, end: fc.option(end) },
  { noNullPrototype: true },
)

describe('the key of a log line', () => {
  test('tells what the line is', () => {
    const property = fc.property(line, (stored) => {
      assert.deepEqual(parseLogKey(logKey('f1', stored)), { funcId: 'f1', line: stored })
    })
    fc.assert(property)
  })

  test('stands in the order of the lines, and in a range of their numbers', () => {
    const property = fc.property(line, line, count, count, (one, two, after, upTo) => {
      const [left, right] = [logKey('f1', one), logKey('f1', two)]
      if (one.seq < two.seq) assert.ok(left < right)
      const { gt = '', lt = '' } = logRange('f1', after, upTo)
      assert.equal(gt < left && left < lt, one.seq > after && one.seq <= upTo)
    })
    fc.assert(property)
  })

  test('that no line has is damaged', () => {
    for (const key of ['f1', 'f1/1', 'f1/1/x', 'f1/1/2/3', 'f1/1/2/3/4/5', 'f1/1/2/3/-4']) {
      assert.throws(() => parseLogKey(key), /is not the key of a log line/)
    }
  })
})
