/** The process of `hyper doctor`: looks, says what it found, and ends (protocol/daemon.ts). */

import { runDaemon } from '../daemon/lifecycle.ts'
import { createLog } from '../daemon/log.ts'
import { parseExaminationConfig } from '../protocol/daemon.ts'
import { examine } from './examination.ts'
import { examineMesh } from './examination-mesh.ts'
import { thisHost } from './firewall.ts'

await runDaemon(parseExaminationConfig, async (config) => {
  const log = createLog('doctor', config.logFormat)
  // Its word is the report.
  log.level = 'warn'
  const findings = [...(await examine(config, thisHost)), ...(await examineMesh(config, log))]
  return {
    ready: { url: '', peerId: '', listen: '', mesh: [], findings },
    log,
    ended: Promise.resolve(),
    stop: async () => undefined,
  }
})
