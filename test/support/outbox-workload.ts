/**
 * What an agent's outbox is made to hold while faults are done to it: attempts one after another,
 * each with its note, its result, and, a while later, its deletion. The history of it is written as
 * it happens: `note N` and `result N` once they are acknowledged, `deletion N` before it is asked for.
 */

import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import type { Note, Outbox } from '../../agent/outbox.ts'
import type { AttemptKey, AttemptResult } from '../../protocol/call.ts'
import { createRandom } from '../simulation/random.ts'
import { makeResult } from './ledger-words.ts'

const SIDE_BY_SIDE = 4
const KEPT = 100
const OUTPUT_BYTES_MAX = 40_000

export const keyOf = (attempt: number): AttemptKey => ({
  call: `00000000-0000-4000-8000-${attempt.toString().padStart(12, '0')}`,
  ...{ attempt: 1, epoch: 1 },
})

const noteOf = (attempt: number): Note => ({
  ...{ key: keyOf(attempt), container: `container-${attempt}`, memoryBytes: attempt },
  ...{ timeoutMs: 0, command: 'true', imagePlatform: 'linux/amd64' },
})

const resultOf = (seed: number, attempt: number): AttemptResult => {
  const bytes = createRandom(seed + attempt).below(OUTPUT_BYTES_MAX)
  return makeResult(keyOf(attempt), 'FINISHED', {
    stdout: new Uint8Array(Buffer.alloc(bytes, `${attempt} `)),
  })
}

/** Runs until the process is killed. */
export const workOutbox = async (
  outbox: Outbox,
  seed: number,
  say: (line: string) => void,
): Promise<never> => {
  const perform = async (attempt: number): Promise<void> => {
    await outbox.putNote(noteOf(attempt), true)
    say(`note ${attempt}`)
    await outbox.putResult(keyOf(attempt), resultOf(seed, attempt))
    say(`result ${attempt}`)
    if (attempt <= KEPT) return
    say(`deletion ${attempt - KEPT}`)
    await outbox.delete(keyOf(attempt - KEPT))
  }
  for (let attempt = 1; ; attempt += SIDE_BY_SIDE) {
    const together = Array.from({ length: SIDE_BY_SIDE }, (_, index) => attempt + index)
    await Promise.all(together.map(perform))
  }
}

const attemptsOf = (lines: readonly string[], what: string): number[] =>
  lines.filter((line) => line.startsWith(`${what} `)).map((line) => Number(line.split(' ')[1]))

/**
 * Proves that all that was acknowledged and not deleted is there, and resolves with how much that
 * was. `before` is what was said before
 * the fault, `after` also what was said up to the writer's end: a deletion may have begun unheard.
 */
export const checkOutbox = async (
  outbox: Outbox,
  seed: number,
  before: readonly string[],
  after: readonly string[],
): Promise<number> => {
  const { notes, results, damaged } = await outbox.readKept()
  assert.deepEqual(damaged, [])
  const deleted = new Set(attemptsOf(after, 'deletion'))
  const found = new Set(results.map(({ call }) => call))
  const kept = (what: string): number[] =>
    attemptsOf(before, what).filter((attempt) => !deleted.has(attempt))
  for (const attempt of kept('result')) {
    const stored = await outbox.getResult(keyOf(attempt))
    // Not `deepEqual`, which works for many seconds to show in what two outputs differ.
    const isSame = isDeepStrictEqual(stored, resultOf(seed, attempt))
    assert.ok(isSame, `result ${attempt} was acknowledged`)
  }
  for (const attempt of kept('note')) {
    const note = notes.find(({ key }) => key.call === keyOf(attempt).call)
    if (note === undefined) {
      assert.ok(found.has(keyOf(attempt).call), `note ${attempt} was acknowledged`)
    } else assert.deepEqual(note, noteOf(attempt))
  }
  return kept('result').length + kept('note').length
}
