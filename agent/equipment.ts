/**
 * What runs containers on this host: images, network, runtimes, the pool, and the trial of the engine
 * with them. Made, and not yet begun: premises.ts does that, and closes what is to be closed.
 */

import { randomUUID } from 'node:crypto'
import { availableParallelism, totalmem } from 'node:os'
import type { Log } from '../daemon/log.ts'
import type { AgentConfig } from '../protocol/daemon.ts'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import { createBridge } from './bridge.ts'
import { machineClock } from './clock.ts'
import type { DeadMan } from './dead-man.ts'
import type { Disk } from './disk.ts'
import type { Engine } from './engine.ts'
import type { FirewallHost } from './firewall.ts'
import { createImages } from './images.ts'
import { createLull } from './lull.ts'
import type { DeriveNonces } from './nonces.ts'
import type { Outbox } from './outbox.ts'
import { createPool, type Pool, type PoolDeps } from './pool.ts'
import { probeEngine, probeRunner } from './probe.ts'
import type { PulledImages } from './pulled-images.ts'
import type { Cgroups } from './runner/oci/cgroups.ts'
import type { Runner } from './runner/runner.ts'
import { createRunners } from './runner/runners.ts'
import { createRuntimes, type Runtimes } from './runtimes.ts'
import type { Room } from './slots.ts'
import { createSupply } from './supply.ts'
import { createTrial } from './trial.ts'

/** Before a container is tried on it. Throws ENGINE_UNSUITABLE. */
const refuseUnknown = (engine: Engine): void => {
  const { apiTrouble = '', product = '', version = '' } = engine.facts() ?? {}
  if (apiTrouble === '') return
  throw new HyperError('ENGINE_UNSUITABLE', `${product} ${version} cannot be used: ${apiTrouble}`)
}

export const sizeOfHost = (engine: Engine) =>
  engine.facts() ?? { cpus: availableParallelism(), memoryBytes: totalmem() }

interface EquipmentConfig extends Pick<AgentConfig, 'home' | 'initDir' | 'ready' | 'runner'> {
  /** On every container. */
  readonly agentId: string
}

interface EquipmentDeps {
  readonly engine: Engine
  readonly outbox: Outbox
  readonly nonces: DeriveNonces
  readonly mountDir: string
  readonly log: Log
  readonly host: FirewallHost
  readonly deadMan: DeadMan
  readonly disk: Disk
  readonly cgroups: Cgroups
  readonly pulled: PulledImages
  readonly room: () => Room
  readonly memoryFreeBytes: () => number
  readonly onChange: () => void
}

/** What may stand ready. Who asks for a number gets it, as far as there is memory at all. */
const readyRoom = ({ ready }: EquipmentConfig, { memoryBytes }: Room) => ({
  containers: ready ?? limits.readyMax,
  bytes: ready === null ? memoryBytes * limits.readyMemoryShare : memoryBytes,
})

/** What runs containers here, and the trial of it. */
export const equip = (config: EquipmentConfig, deps: EquipmentDeps, signal: AbortSignal) => {
  const { engine, nonces, log } = deps
  const bridge = createBridge(deps)
  const images = createImages({
    ...{ engine, initDir: config.initDir, pulled: deps.pulled, trouble: deps.disk.trouble },
  })
  const identity = { agentId: config.agentId, storeId: deps.outbox.storeId }
  const cpus = (): number => sizeOfHost(engine).cpus
  const host = { cpus, mountDir: deps.mountDir }
  const runners = createRunners({
    ...{ engine, identity, host, log, cgroups: deps.cgroups, images, signal },
    ...{ home: config.home, initDir: config.initDir, wanted: config.runner },
    link: bridge.link,
    probeOci: (runtime) => probeRunner(probingOci, runtime),
    probeDocker: (runtime) => probeRunner(probing, runtime),
  })
  const { runner } = runners
  const lull = createLull(machineClock)
  const poolOf = (by: Runner, room: PoolDeps['room'], onChange: () => void): Pool =>
    createPool({
      ...{ runner: by, boot: randomUUID(), clock: machineClock, lull, log, room, onChange },
      ...{ startsMax: cpus, memoryFreeBytes: deps.memoryFreeBytes, isUp: engine.isUp },
      isDiskFull: () => deps.disk.trouble() !== '',
    })
  const supplyOf = (pool: Pool, runtimes: Pick<Runtimes, 'check'>) =>
    createSupply({ images, pool, bridge, runtimes })
  const none = { containers: 0, bytes: 0 }
  const silent = (): void => undefined
  /** For the containers of probes, of which none is kept. */
  const probingBy = (by: Runner) => {
    const pool = poolOf(by, () => none, silent)
    return {
      ...{ runner: by, nonces, signal, turnSwitch: deps.deadMan.turn, pool },
      supply: supplyOf(pool, { check: silent }),
    }
  }
  const probing = probingBy(runners.dockerProber)
  const probingOci = probingBy(runners.ociProber)
  const tryEngine = async (): Promise<void> => {
    refuseUnknown(engine)
    await probeEngine({ ...probing, onContainer: runners.learn })
    await runner.settle()
  }
  const trial = createTrial({ engine, probe: tryEngine, log })
  const runtimes = createRuntimes({ engine, probe: runners.tryNamed, log, onChange: deps.onChange })
  const pool = poolOf(runner, () => readyRoom(config, deps.room()), deps.onChange)
  const supply = supplyOf(pool, runtimes)
  const close = async (): Promise<void> => {
    for (const each of [pool, probing.pool, probingOci.pool]) await each.close()
    await runners.close()
  }
  return {
    images,
    runner,
    unpin: runners.unpin,
    bridge,
    runtimes,
    lull,
    pool,
    supply,
    trial,
    close,
  }
}
