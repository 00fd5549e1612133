/** A daemon that logs many lines in one turn and fails of a bug in the next: `fork`ed by a test. */

import { runDaemon } from '../../daemon/lifecycle.ts'
import { createLog } from '../../daemon/log.ts'

const LINES = 2000

const parseFormat = (value: unknown): 'json' | 'pretty' => (value === 'json' ? 'json' : 'pretty')

await runDaemon(parseFormat, async (format) => {
  const log = createLog('failing', format)
  setImmediate(() => {
    for (let line = 1; line <= LINES; line += 1) log.info({ line }, 'busy')
    throw new Error('a bug')
  })
  return {
    ready: { url: '', peerId: '', listen: '', mesh: [] },
    log,
    ended: new Promise(() => undefined),
    stop: () => Promise.resolve(),
  }
})
