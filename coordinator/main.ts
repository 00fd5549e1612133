/** The coordinator's process. Started by `hyper coordinator` or `hyper up` (protocol/daemon.ts). */

import { runDaemon } from '../daemon/lifecycle.ts'
import { parseCoordinatorConfig } from '../protocol/daemon.ts'
import { startCoordinator } from './coordinator.ts'

await runDaemon(parseCoordinatorConfig, startCoordinator)
