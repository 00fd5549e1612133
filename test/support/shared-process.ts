/**
 * Imported before the test files that share a process (suites.ts). Should one of them end it, the tests of the
 * others would be missed by nobody: its status is not that of a success then.
 */

import { after } from 'node:test'

let isOver = false

after(() => {
  isOver = true
})
process.on('exit', () => {
  if (isOver) return
  process.exitCode = 1
  process.stderr.write('✖ the process was ended before its tests were over\n')
})
