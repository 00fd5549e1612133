/** What the docs say that a hostile function gets: its codes are tried on an engine, its numbers are ours. */

import assert from 'node:assert/strict'
import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { limits } from '../../protocol/limits.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

const readTable = async (): Promise<string> => {
  const text = await readFile(join(root, 'docs/explanation/isolation.md'), 'utf8')
  return text.split('<!-- hostile -->')[1] ?? ''
}

test('each outcome that the docs promise of a hostile function is one that a test expects', async () => {
  const codes = new Set((await readTable()).match(/(?<=`)[A-Z]+(_[A-Z]+)+(?=`)/g))
  let tests = ''
  for await (const path of glob('test/engine/hostile-*.test.ts', { cwd: root })) {
    tests += await readFile(join(root, path), 'utf8')
  }
  assert.ok(codes.size >= 5)
  assert.deepEqual(
    [...codes].filter((code) => !tests.includes(`'${code}'`)),
    [],
  )
})

test('the bounds that the docs name there are those that hold', async () => {
  const table = await readTable()
  const { pidsMax, openFilesHard, stdoutBytesMax, stderrBytesMax, stopGraceMs } = limits
  const bounds = [
    `${pidsMax} processes`,
    `${openFilesHard.toLocaleString('en-US')} of each process`,
    `soon after ${stdoutBytesMax / 1024 ** 2} MB`,
    `the first ${stderrBytesMax / 1024} KB`,
    `killed ${stopGraceMs / 1000} s after`,
  ]
  assert.deepEqual(
    bounds.filter((bound) => !table.includes(bound)),
    [],
  )
})
