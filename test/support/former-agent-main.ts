/** The agent's process of the version of the protocol before: started as agent/main.ts is. */

import { startAgent } from '../../agent/agent.ts'
import { runDaemon } from '../../daemon/lifecycle.ts'
import { parseAgentConfig } from '../../protocol/daemon.ts'
import { PROTOCOL_VERSION_OLDEST } from '../../protocol/messages.ts'

await runDaemon(parseAgentConfig, (config, progress, stopping) =>
  startAgent(config, progress, stopping, PROTOCOL_VERSION_OLDEST),
)
