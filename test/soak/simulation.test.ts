/** The simulation through many more seeds than a test run has: SEEDS=n, 100,000 unless told. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Report, replayLine, runSeeds } from '../simulation/pool.ts'

const COUNT = Number(process.env.SEEDS ?? 100_000)
/** Beyond those of the test run, unless told where one that was stopped goes on. */
const FIRST = Number(process.env.FIRST ?? 10_001)
const TELL_EVERY = 2_000

test(`the invariants hold through ${COUNT} seeds of faults`, async () => {
  const failed: Report[] = []
  const began = performance.now()
  let count = 0
  await runSeeds(FIRST, FIRST + COUNT, (report) => {
    count += 1
    if (report.failure !== null) {
      failed.push(report)
      process.stdout.write(`${replayLine(report)}\n`)
    }
    if (count % TELL_EVERY !== 0) return
    const seconds = (performance.now() - began) / 1000
    process.stdout.write(`${count} seeds in ${seconds.toFixed(0)} s, ${failed.length} failed\n`)
  })
  assert.equal(count, COUNT)
  assert.equal(failed.length, 0, failed.slice(0, 20).map(replayLine).join('\n'))
})
