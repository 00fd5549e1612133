/** Pool and supply of one process of an agent, as shipped, in virtual time; what they do is recorded. */

import type { Clock } from '../../agent/clock.ts'
import type { Images } from '../../agent/images.ts'
import { createLull } from '../../agent/lull.ts'
import { createPool } from '../../agent/pool.ts'
import { createSupply, type Supply } from '../../agent/supply.ts'
import type { Log } from '../../daemon/log.ts'
import { attemptName } from '../../protocol/call.ts'
import { imageKey } from '../../protocol/image.ts'
import type { AgentDeps } from './agent-deps.ts'
import type { SimulatedEngine } from './engine.ts'
import type { Process } from './scheduler.ts'
import { IMAGE } from './workload.ts'

export const IMAGES: Images = {
  ensure: async () => IMAGE,
  forget: () => undefined,
  pull: async () => IMAGE,
  ...{ changes: () => 0, evicted: () => undefined },
  keys: async () => [imageKey(IMAGE)],
  importHello: async () => IMAGE,
}

const CPUS = 4
const ENDLESS = 2 ** 40
/** Of containers that stand ready, at the most; some agents have none. */
const READY = 6

export const createAgentSupply = (
  { agentId, scheduler, random, history }: AgentDeps,
  host: Pick<SimulatedEngine, 'assign'>,
  process: Process,
  of: ReturnType<SimulatedEngine['forAgent']> & { readonly log: Log },
) => {
  const clock: Clock = {
    nowMs: scheduler.nowMs,
    after(ms, act) {
      let isCancelled = false
      process.after(ms, () => {
        if (!isCancelled) act()
      })
      return () => {
        isCancelled = true
      }
    },
  }
  const lull = createLull(clock)
  const room = { containers: random.below(READY), bytes: ENDLESS }
  const pool = createPool({
    ...{ runner: of.runner, boot: `${random.below(2 ** 30)}`, clock, lull, log: of.log },
    ...{ startsMax: () => CPUS, room: () => room, memoryFreeBytes: () => ENDLESS },
    ...{ isUp: of.engine.isUp, isDiskFull: () => false, onChange: () => undefined },
  })
  const shipped = createSupply({
    ...{ images: IMAGES, pool, cpus: () => CPUS, initDir: '/x' },
    bridge: { id: async () => 'bridge', hasChanged: async () => false },
    runtimes: { check: () => undefined },
  })
  const supply: Supply = {
    ...shipped,
    take(assignment, signal, onTaken, askAuth) {
      const attempt = attemptName(assignment.key)
      history.record({ type: 'container-asked', agentId, attempt })
      const onAssigned: typeof onTaken = (container) => {
        host.assign(container.id, attempt)
        onTaken(container)
      }
      return shipped.take(assignment, signal, onAssigned, askAuth)
    },
  }
  return { pool, lull, supply }
}
