/**
 * Faults planted in the shipped source: the checker finds each, and the same seeds without it hold.
 * The table of them in docs/explanation/guarantee.md is written from what this run saw.
 */

import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { applyEdit, PLANTED, pathOf } from './planted.ts'
import type { PlantedBug } from './planted-bug.ts'
import { inTurns, type Report, runTask, type Task } from './pool.ts'

/** A fault that is not found within so many seeds shows a hole in world or checker. */
const SEEDS_MAX = 600
const TABLE = pathOf('docs/explanation/guarantee.md')
const MARK = '<!-- planted -->'

interface Found {
  readonly bug: PlantedBug
  readonly report: Report
}

const taskOf = (profile: string, to: number): Omit<Task, 'planted'> => ({
  ...{ from: 1, to, step: 1, profile, isEndingAtFailure: true },
})

const find = async (bug: PlantedBug): Promise<Found | null> => {
  let found: Report | null = null
  await runTask({ ...taskOf(bug.profile, 1 + SEEDS_MAX), planted: bug.name }, (report) => {
    if (report.failure !== null) found ??= report
  })
  return found === null ? null : { bug, report: found }
}

const tableOf = (found: readonly Found[]): string =>
  [
    '| planted in the source | found by | seeds |',
    '| --- | --- | --- |',
    ...found.map(
      ({ bug, report }) => `| ${bug.name} | ${report.failure?.invariant} | ${report.seed} |`,
    ),
  ].join('\n')

/** Without the seeds, which move with every change of the world. */
const namesIn = (text: string): string[] =>
  text.split('\n').flatMap((line) => /^\| ([^|]+) \| [^|]+ \| \d+ \|$/.exec(line)?.[1] ?? [])

test('every planted fault still applies to the source, once', async () => {
  for (const { name, edits } of PLANTED) {
    const texts = new Map<string, string>()
    for (const edit of edits) {
      const text = texts.get(edit.file) ?? (await readFile(pathOf(edit.file), 'utf8'))
      texts.set(edit.file, applyEdit(text, edit))
    }
    assert.ok(texts.size > 0, name)
  }
  assert.equal(new Set(PLANTED.map(({ name }) => name)).size, PLANTED.length)
})

test('the checker finds every planted fault, and nothing without it', async (context) => {
  const found: Found[] = []
  const missed: string[] = []
  await inTurns(
    PLANTED.map((bug) => async () => {
      const one = await find(bug)
      if (one === null) missed.push(bug.name)
      else found.push(one)
    }),
  )
  found.sort((a, b) => PLANTED.indexOf(a.bug) - PLANTED.indexOf(b.bug))
  assert.deepEqual(missed, [], `not found within ${SEEDS_MAX} seeds`)
  for (const { bug, report } of found) {
    const invariant = report.failure?.invariant ?? ''
    const isExpected = bug.foundBy.some((name) => invariant.startsWith(name))
    assert.ok(isExpected, `${bug.name}: found by ${invariant}: ${report.failure?.message}`)
  }
  const most = new Map<string, number>()
  for (const { bug, report } of found) {
    most.set(bug.profile, Math.max(most.get(bug.profile) ?? 0, report.seed))
  }
  const broken: string[] = []
  await inTurns(
    [...most].map(([profile, to]) => async () => {
      await runTask({ ...taskOf(profile, 1 + to), planted: null }, ({ seed, failure }) => {
        if (failure !== null) broken.push(`${profile} ${seed}: ${failure.invariant}`)
      })
    }),
  )
  assert.deepEqual(broken, [], 'the same seeds hold without the fault')
  const table = tableOf(found)
  const [before = '', kept = '', ...after] = (await readFile(TABLE, 'utf8')).split(MARK)
  if (process.env.WRITE_TABLE === '1') {
    await writeFile(TABLE, [before, `\n\n${table}\n\n`, ...after].join(MARK))
    return
  }
  assert.deepEqual(
    namesIn(kept),
    PLANTED.map(({ name }) => name),
    'the table has every fault; WRITE_TABLE=1 writes it anew',
  )
  context.diagnostic(`${found.length} faults found`)
})
