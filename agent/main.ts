/** The agent's process. Started by `hyper agent`, `hyper join` or `hyper up` (protocol/daemon.ts). */

import { runDaemon } from '../daemon/lifecycle.ts'
import { parseAgentConfig } from '../protocol/daemon.ts'
import { startAgent } from './agent.ts'

await runDaemon(parseAgentConfig, startAgent)
