/** Every result that leaves the agent can be read by the coordinator. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { notStarted } from '../../agent/classify.ts'
import { settledResult } from '../../agent/settled-result.ts'
import type { AttemptResult } from '../../protocol/call.ts'
import { limits } from '../../protocol/limits.ts'
import { decodeAgentMessage, encodeMessage } from '../../protocol/messages.ts'
import { anyCharacter } from '../support/any-character.ts'

const key = { call: '11111111-1111-4111-8111-111111111111', attempt: 1, epoch: 1 }
const plain = { ...notStarted('FINISHED', '', 0), started: true, exitCode: 0 }

const overTheWire = (result: AttemptResult): AttemptResult => {
  const message = decodeAgentMessage(encodeMessage({ type: 'result', session: 1, key, result }))
  assert.ok(message.type === 'result')
  return message.result
}

test('whatever a result holds, what is sent of it is within the schema', () => {
  const results = fc.record({
    message: fc.oneof(
      fc.string({ unit: anyCharacter }),
      fc.nat(10_000).map((length) => '\u{1f600}'.repeat(length)),
    ),
    stdout: fc.constantFrom(0, limits.stdoutBytesMax, limits.stdoutBytesMax + 1),
    stderr: fc.constantFrom(0, limits.stderrBytesMax + 1),
    runMs: fc.constantFrom(1.5, -1, Number.NaN),
  })
  fc.assert(
    fc.property(results, ({ message, stdout, stderr, runMs }) => {
      const result = { ...plain, message, runMs }
      overTheWire(
        settledResult({
          ...result,
          stdout: new Uint8Array(stdout),
          stderr: new Uint8Array(stderr),
        }),
      )
    }),
    { numRuns: 200 },
  )
})

test('a long message is clipped, and what was well is left as it was', () => {
  const long = settledResult({ ...plain, message: 'x'.repeat(limits.resultMessageCharsMax + 1) })
  assert.equal(long.message.length, limits.resultMessageCharsMax)
  assert.equal(long.code, 'FINISHED')
  assert.deepEqual(settledResult(plain), plain)
})

test('a result that cannot be read is a lost attempt that had started', () => {
  const { code, started, message } = settledResult({ ...plain, runMs: Number.NaN })
  assert.deepEqual([code, started], ['AGENT_LOST', true])
  assert.match(message, /runMs/)
})
