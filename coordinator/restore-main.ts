/** The process of `hyper restore`: makes the home, says what is in it, and ends (protocol/daemon.ts). */

import { runDaemon } from '../daemon/lifecycle.ts'
import { createLog } from '../daemon/log.ts'
import { parseRestoreConfig } from '../protocol/daemon.ts'
import { HyperError } from '../protocol/errors.ts'
import { restoreBackup } from './restore.ts'

const stopping = new AbortController()
const stop = (): void => stopping.abort(new HyperError('STOPPING', 'the restore was given up'))
process.once('SIGINT', stop).once('SIGTERM', stop).once('disconnect', stop)

await runDaemon(parseRestoreConfig, async (config, progress) => {
  const log = createLog('restore', config.logFormat)
  // Its word is the report.
  log.level = 'warn'
  const restored = await restoreBackup({
    ...{ config, progress, wallMs: Date.now(), signal: stopping.signal },
  })
  return {
    ready: { url: '', peerId: '', listen: '', mesh: [], restored },
    log,
    ended: Promise.resolve(),
    stop: async () => undefined,
  }
})
