/**
 * One byte rots anywhere in LevelDB's files, and the coordinator starts: it finds all as it was, or
 * refuses by name; with the loss accepted, what is left is what was written. `ROT=all` tries every
 * byte, `SEED=…` repeats a sample.
 */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { makeFolder } from '../support/disk.ts'
import type { Verdict } from '../support/rot-prober.ts'
import { listProbes, runProbes } from '../support/rot-probes.ts'
import { makeRotStore } from '../support/rot-store.ts'
import { chooseSeed } from '../support/seed.ts'

/** Of each kind of file. */
const SAMPLE = 12
/** Of what is not sound. */
const SHOWN = 5

const kindOf = (file: string): string => /^[A-Z]+|[a-z]+$/.exec(file)?.[0] ?? file

const isSound = ({ start, accepted, losses }: Verdict): boolean =>
  start === 'right' ||
  (start === 'STATE_DAMAGED' && /^(right|former: )/.test(accepted) && losses.length > 0)

describe('one byte that rots in the files of LevelDB', () => {
  test('ends no process, serves nothing wrong, and is accepted at no more than the rows that are told', async (context) => {
    const { random } = chooseSeed(context)
    const folder = await makeFolder(context)
    const store = join(folder, 'store')
    await makeRotStore(store)
    const all = await listProbes(store)
    const kinds = [...new Set(all.map(({ file }) => kindOf(file)))].sort()
    assert.deepEqual(kinds, ['CURRENT', 'MANIFEST', 'ldb', 'log'])
    const sample = kinds.flatMap((kind) => {
      const some = all.filter(({ file }) => kindOf(file) === kind)
      return Array.from({ length: SAMPLE }, () => random.pick(some))
    })
    const probes = process.env.ROT === 'all' ? all : sample
    const verdicts = await runProbes(probes, store, join(folder, 'scratch'))
    for (const kind of kinds) {
      const own = verdicts.filter(({ probe }) => kindOf(probe.file) === kind)
      const named = own.filter(({ start }) => start === 'STATE_DAMAGED')
      context.diagnostic(`${kind}: ${own.length} bytes, ${named.length} named`)
      // What follows the last commit in a log is nobody's.
      if (kind !== 'log') assert.ok(named.length > own.length / 2, kind)
    }
    const unsound = verdicts.filter((verdict) => !isSound(verdict))
    const said = unsound.slice(0, SHOWN).map((verdict) => JSON.stringify(verdict))
    assert.equal(unsound.length, 0, said.join('\n'))
  })
})
