/** The whole mesh under thousands of seeds; each failure names its seed, which replays it. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { type Report, replayLine, runSeeds } from './pool.ts'
import { runSeed } from './run.ts'
import { SEEDS } from './seeds.ts'

const COUNT = 1200

const share = (reports: readonly Report[], is: (report: Report) => boolean): string =>
  `${Math.round((100 * reports.filter(is).length) / reports.length)} %`

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0)

const hashOf = async (seed: number): Promise<string> => {
  const { observations } = await runSeed(seed)
  return createHash('sha256').update(JSON.stringify(observations)).digest('hex')
}

test('a seed is the same run every time, byte for byte', async () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    assert.equal(await hashOf(seed), await hashOf(seed), `seed ${seed}`)
  }
})

test('seeds that once failed hold', async () => {
  for (const { seed, profile, showed } of SEEDS) {
    const { failure } = await runSeed(seed, profile)
    assert.equal(failure, null, `${showed}: ${replayLine({ seed, failure })}`)
  }
})

test(`the invariants hold through ${COUNT} seeds of faults`, async (context) => {
  const reports: Report[] = []
  const began = performance.now()
  await runSeeds(1, 1 + COUNT, (report) => void reports.push(report))
  const seconds = (performance.now() - began) / 1000
  const profiles = Map.groupBy(reports, ({ profile }) => profile)
  const hours = sum(reports.map(({ virtualMs }) => virtualMs)) / 3_600_000
  context.diagnostic(
    `${reports.length} seeds in ${seconds.toFixed(1)} s (${(reports.length / seconds).toFixed(0)} a second), ${sum(reports.map(({ acts }) => acts))} events, ${hours.toFixed(0)} hours of virtual time`,
  )
  context.diagnostic(
    `with faults ${share(reports, ({ faults }) => faults > 0)} (${sum(reports.map(({ faults }) => faults))}), restarts of the coordinator ${share(reports, ({ hasRestart }) => hasRestart)}, calls set aside ${share(reports, ({ hasAside }) => hasAside)}`,
  )
  context.diagnostic(
    [...profiles]
      .map(([name, { length }]) => `${name} ${length}`)
      .sort()
      .join(', '),
  )
  assert.equal(reports.length, COUNT)
  const failed = reports.filter(({ failure }) => failure !== null)
  assert.equal(failed.length, 0, failed.slice(0, 10).map(replayLine).join('\n'))
})
