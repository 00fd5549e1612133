/**
 * `hyper up`: a coordinator and agents on one machine, each a process of its own that is started
 * again when it dies. Start: the coordinator, then the agents, each with an invitation of its own
 * until it is a member. Stop: the agents first, so that their results still find the coordinator.
 */

import type { Client } from '../client/client.ts'
import {
  type AgentConfig,
  COORDINATOR_PROCESS,
  type CoordinatorConfig,
  type DaemonReady,
} from '../protocol/daemon.ts'
import { EXIT } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { startDaemon } from './daemon.ts'
import { onStopSignals } from './foreground.ts'
import { type Supervisor, supervise } from './supervisor.ts'

export interface UpPlan {
  readonly coordinator: CoordinatorConfig
  /** Their tickets are filled in here. */
  readonly agents: readonly AgentConfig[]
  readonly programs: { readonly coordinator: string; readonly agent: string }
  /** A client of the coordinator that runs here; asked for once it is ready. */
  readonly connect: () => Promise<Client>
  /** Everything is ready: the first function, the greeting. */
  readonly greet: (ready: DaemonReady, client: Client, signal: AbortSignal) => Promise<void>
  readonly note: (line: string) => void
}

/**
 * What a restart is given: ports that were left open stay what they became, so that agents find it,
 * and what the operator allowed for this once was for the first start.
 */
export const configAgain = (config: CoordinatorConfig, ready: DaemonReady): CoordinatorConfig => {
  const listenPort = Number(/:(\d+)$/.exec(ready.listen)?.[1] ?? config.listenPort)
  const meshPort = ready.mesh.map((address) => /\/tcp\/(\d+)/.exec(address)?.[1]).find(Boolean)
  const mesh = config.mesh.map((address) =>
    meshPort === undefined ? address : address.replace(/\/tcp\/0(?=\/|$)/, `/tcp/${meshPort}`),
  )
  return { ...config, listenPort, mesh, raiseEpoch: false, acceptDataLoss: false }
}

const superviseCoordinator = (plan: UpPlan): Supervisor => {
  let config = plan.coordinator
  return supervise({
    name: 'coordinator',
    note: plan.note,
    drainMs: config.drainMs,
    start: async () =>
      startDaemon({
        program: plan.programs.coordinator,
        config,
        name: 'coordinator',
        process: COORDINATOR_PROCESS,
        onProgress: plan.note,
      }),
    onReady: (ready) => {
      config = configAgain(config, ready)
    },
  })
}

const superviseAgent = (
  plan: UpPlan,
  config: AgentConfig,
  name: string,
  client: Client,
): Supervisor => {
  let isMember = false
  const ticketOf = async (): Promise<string | null> => {
    if (isMember) return null
    const { ticket } = await client.invite({ uses: 1, expiresMs: limits.inviteMsDefault })
    return ticket
  }
  return supervise({
    name,
    note: plan.note,
    drainMs: config.drainMs,
    start: async () =>
      startDaemon({
        program: plan.programs.agent,
        config: { ...config, ticket: await ticketOf() },
        name,
        onProgress: plan.note,
      }),
    onReady: () => {
      isMember = true
    },
  })
}

/** Runs until a signal, or until the start fails; resolves to the exit code. */
export const runUp = async (plan: UpPlan): Promise<number> => {
  const stopping = new AbortController()
  const stopped = Promise.withResolvers<void>()
  const agents: Supervisor[] = []
  let isKilled = false
  const coordinator = superviseCoordinator(plan)
  const release = onStopSignals({
    drain: () => {
      plan.note('Stopping; a second signal stops at once.')
      stopping.abort()
      stopped.resolve()
    },
    kill: () => {
      isKilled = true
      for (const daemon of [...agents, coordinator]) daemon.kill()
    },
  })
  const start = async (): Promise<void> => {
    const ready = await coordinator.ready
    const client = await plan.connect()
    if (stopping.signal.aborted) return
    for (const [index, config] of plan.agents.entries()) {
      agents.push(superviseAgent(plan, config, `agent-${index + 1}`, client))
    }
    await Promise.all(agents.map((agent) => agent.ready))
    await plan.greet(ready, client, stopping.signal)
  }
  const started = start()
  // Once a stop is asked for, what breaks off in the start is no failure.
  started.catch(() => undefined)
  try {
    await Promise.race([started, stopped.promise])
    await stopped.promise
  } finally {
    await Promise.all(agents.map((agent) => agent.stop()))
    await coordinator.stop()
    release()
  }
  return isKilled ? EXIT.failed : EXIT.done
}
