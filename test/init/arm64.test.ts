/**
 * hyper-init for arm64 does what the one for this machine does: the same tests, with a program that
 * a cross compiler made and an emulator runs. What it starts is this machine's.
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { isEmulatorNeeded } from '../support/init-builds.ts'

const FILES = ['frame', 'process', 'ending', 'switch']
const FILE_MS_MAX = 240_000

const environment = (): NodeJS.ProcessEnv => {
  // The runner that runs this file is not to take that one's reports for its own.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  return { ...env, HYPER_TEST_INIT_EMULATED: '1' }
}

const run = (file: string) =>
  promisify(execFile)(process.execPath, ['--test', join(import.meta.dirname, `${file}.test.ts`)], {
    env: environment(),
    timeout: FILE_MS_MAX,
    maxBuffer: 64 << 20,
  }).then(
    ({ stdout }) => stdout,
    (error: { readonly stdout?: string; readonly message: string }) =>
      assert.fail(error.stdout ?? error.message),
  )

describe('hyper-init for arm64', { skip: isEmulatorNeeded ? false : 'is this machine’s' }, () => {
  for (const file of FILES) {
    test(`passes the tests of ${file}.test.ts`, async () => {
      const report = await run(file)
      const passed = Number(/^ℹ pass (\d+)$/m.exec(report)?.[1])
      assert.ok(passed >= 5, report)
    })
  }
})
