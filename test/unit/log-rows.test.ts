import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { logEndIn, parseLogRow } from '../../coordinator/rows.ts'

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  // What could be taken for the end of a row.
  fc.constantFrom('}}', '"}}', ',"end":{"seq":1,"stderrBytes":2}}', '\\",\\"end\\":{', '\\'),
)

const line = fc.record({
  Seq: fc.integer({ min: 1 }),
  Time: text,
  Event: fc.constantFrom('CALL', 'PENDING', 'FINISHED', 'FAILED'),
  CallId: text,
  ShortStdin: text,
  ShortStdout: text,
  ShortStderr: text,
  Message: text,
})
const end = fc.record({ seq: fc.nat(), stderrBytes: fc.nat() })

describe('the row of a log line', () => {
  test('tells what it ended as the whole row does, whatever its texts are', () => {
    const property = fc.property(line, fc.option(end), (fields, ended) => {
      const row = ended === null ? fields : { ...fields, end: ended }
      const json = JSON.stringify(row)
      assert.deepEqual(logEndIn(json), parseLogRow(JSON.parse(json)).end ?? null)
    })
    fc.assert(property, { numRuns: 300 })
  })

  test('that tells its end in another shape is damaged', () => {
    assert.throws(() => logEndIn('{"Seq":1,"end":{"seq":-1,"stderrBytes":0}}'), /log line/)
  })
})
