/** What a daemon says at its end is read by those who look for the cause: it must not be lost. */

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('../support/failing-daemon.ts', import.meta.url))

for (const format of ['json', 'pretty'] as const) {
  test(`a daemon that dies of a bug says so last, after 2,000 lines that waited (${format})`, async () => {
    const child = fork(program, [], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      timeout: 20_000,
    })
    assert.ok(child.stderr !== null)
    child.send({ type: 'configure', config: format })
    const [log, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
    assert.equal(code, 70)
    assert.equal(log.match(/busy/g)?.length, 2000)
    const end = log.slice(log.lastIndexOf('busy'))
    assert.match(end, /stopped by a fault of its own/)
    assert.match(end, /a bug/)
  })
}
