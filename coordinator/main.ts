/** The coordinator's process. Started by `hyper coordinator` or `hyper up` (protocol/daemon.ts). */

import { setFlagsFromString } from 'node:v8'
import { runDaemon } from '../daemon/lifecycle.ts'
import { parseCoordinatorConfig } from '../protocol/daemon.ts'
import { limits } from '../protocol/limits.ts'
import { startCoordinator } from './coordinator.ts'

// V8's own: one that does not know it goes on without.
setFlagsFromString(`--heap-growing-percent=${limits.coordinatorGarbagePercent}`)

await runDaemon(parseCoordinatorConfig, startCoordinator)
