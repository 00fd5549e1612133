/** What an agent of the simulation is, and what it needs of the world. */

import type { Advert } from '../../protocol/advert.ts'
import type { History } from './history.ts'
import type { AgentEnd, LinkDeps } from './link.ts'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './scheduler.ts'

/** May change while it runs. */
interface AgentTempo {
  /** Of heartbeats while attempts are held, and while none are. */
  busyMs: number
  idleMs: number
}

export type AgentEars = Pick<LinkDeps, 'onMessage' | 'onClosed' | 'onLost' | 'onUnsaid'>

export interface AgentDeps {
  readonly agentId: string
  readonly slots: number
  readonly memoryBytes: number
  readonly labels: Readonly<Record<string, string>>
  readonly drift: number
  readonly scheduler: Scheduler
  readonly random: Random
  readonly history: History
  readonly tempo: AgentTempo
  readonly newContainerId: () => string
  /** A connection to whom the address leads to; null where nobody answers. Throws NOT_A_MEMBER. */
  readonly dial: (process: Process, ears: AgentEars) => AgentEnd | null
  /** What an old connection lost on its way turns up in the next one. */
  readonly isLate: boolean
  readonly gossip: (advert: Advert) => void
}
