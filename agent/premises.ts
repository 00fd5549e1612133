/**
 * Everything of an agent that is on its own host, without the mesh: home, engine, runner, images,
 * attempts. Opened in the order in which the parts need each other; `close` goes backwards.
 */

import { randomUUID } from 'node:crypto'
import { availableParallelism, totalmem } from 'node:os'
import type { Log } from '../daemon/log.ts'
import type { AgentConfig } from '../protocol/daemon.ts'
import { limits } from '../protocol/limits.ts'
import type { Hello } from '../protocol/messages.ts'
import { createActs } from './acts.ts'
import { type Attempts, createAttempts } from './attempts.ts'
import { machineClock } from './clock.ts'
import { startDeadMan } from './dead-man.ts'
import { type Engine, startEngine } from './engine.ts'
import { createImages, type Images } from './images.ts'
import { findPrograms } from './init/programs.ts'
import { prepareInitMount, removeOldInitMounts } from './init-mount.ts'
import { createLull } from './lull.ts'
import { createNonces, type DeriveNonces, loadSecret } from './nonces.ts'
import { type Outbox, openOutbox } from './outbox.ts'
import { createPool, type Pool, type PoolDeps } from './pool.ts'
import { probeEngine } from './probe.ts'
import { createDockerRunner } from './runner/docker.ts'
import type { Runner } from './runner/runner.ts'
import { type Room, roomOf } from './slots.ts'
import { createSupply } from './supply.ts'
import { createTrial } from './trial.ts'

export interface PremisesConfig
  extends Pick<AgentConfig, 'home' | 'initDir' | 'slots' | 'memoryBytes' | 'ready' | 'dockerHost'> {
  /** On every container: outlives a lost store, so that nothing is left of it either. */
  readonly agentId: string
}

/** What a hello tells of this host. */
export type HostFacts = Pick<Hello, 'slots' | 'memoryBytes' | 'platform' | 'runtimes'>

export interface Premises {
  readonly engine: Engine
  readonly images: Images
  readonly outbox: Outbox
  readonly attempts: Attempts
  readonly pool: Pick<Pool, 'ready'>
  /** The engine answers, and has run a container of ours. */
  isReady(): boolean
  /** Of an engine that has run none of our containers yet nothing is told: it gets no calls. */
  hostFacts(): HostFacts
  /** Who is told of every change of what an advert or a hello tells. */
  setOnChange(listener: () => void): void
  /** Containers that run are left to the next process of this agent. */
  close(): Promise<void>
}

/** Things to close, the last opened first; what one of them throws does not keep the others. */
const createClosers = (log: Log) => {
  const closers: (() => unknown)[] = []
  return {
    add: (close: () => unknown): void => {
      closers.unshift(close)
    },
    closeAll: async (): Promise<void> => {
      for (const close of closers.splice(0)) {
        await Promise.resolve()
          .then(close)
          .catch((error: unknown) => log.error({ err: error }, 'part of the agent did not close'))
      }
    },
  }
}

const sizeOfHost = (engine: Engine) =>
  engine.facts() ?? { cpus: availableParallelism(), memoryBytes: totalmem() }

export const openPremises = async (
  config: PremisesConfig,
  log: Log,
  progress: (message: string) => void = () => undefined,
): Promise<Premises> => {
  const closers = createClosers(log)
  try {
    return await open(config, log, progress, closers)
  } catch (error) {
    await closers.closeAll()
    throw error
  }
}

interface EquipDeps {
  readonly engine: Engine
  readonly outbox: Outbox
  readonly nonces: DeriveNonces
  readonly dir: string
  readonly log: Log
  readonly room: () => Room
  readonly memoryFreeBytes: () => number
  readonly onReady: () => void
}

/** What may stand ready. Who asks for a number gets it, as far as there is memory at all. */
const readyRoom = ({ ready }: PremisesConfig, { memoryBytes }: Room) => ({
  containers: ready ?? limits.readyMax,
  bytes: ready === null ? memoryBytes * limits.readyMemoryShare : memoryBytes,
})

/** What runs containers here, and the trial of it. */
const equip = (config: PremisesConfig, deps: EquipDeps, signal: AbortSignal) => {
  const { engine, nonces, log } = deps
  const images = createImages({ engine, initDir: config.initDir })
  const identity = { agentId: config.agentId, storeId: deps.outbox.storeId }
  const runner = createDockerRunner(engine, identity)
  const cpus = (): number => sizeOfHost(engine).cpus
  const lull = createLull(machineClock)
  const poolOf = (by: Runner, room: PoolDeps['room'], onChange: () => void): Pool =>
    createPool({
      ...{ runner: by, boot: randomUUID(), clock: machineClock, lull, log, room, onChange },
      ...{ startsMax: cpus, memoryFreeBytes: deps.memoryFreeBytes, isUp: engine.isUp },
    })
  const supplyOf = (pool: Pool) => createSupply({ images, pool, cpus, initDir: deps.dir })
  const probe = async (): Promise<void> => {
    const own = createDockerRunner(engine, { ...identity, agentId: `${identity.agentId}.probe` })
    const none = { containers: 0, bytes: 0 }
    const pool = poolOf(
      own,
      () => none,
      () => undefined,
    )
    await probeEngine({ runner: own, supply: supplyOf(pool), nonces, signal }).finally(pool.close)
  }
  const pool = poolOf(runner, () => readyRoom(config, deps.room()), deps.onReady)
  const trial = createTrial({ engine, probe, log })
  return { images, runner, lull, pool, supply: supplyOf(pool), trial }
}

const open = async (
  config: PremisesConfig,
  log: Log,
  progress: (message: string) => void,
  closers: ReturnType<typeof createClosers>,
): Promise<Premises> => {
  const { home, dockerHost } = config
  const engine = startEngine(dockerHost)
  closers.add(engine.close)
  const outbox = await openOutbox(home)
  closers.add(outbox.close)
  const nonces = createNonces(await loadSecret(home))
  const initDir = await findPrograms({ home, initDir: config.initDir, progress })
  const initMount = await prepareInitMount({ home, initDir })
  const deadMan = await startDeadMan(initMount.switchPaths, (error) =>
    log.error({ err: error }, 'the dead man’s switch could not be turned'),
  )
  closers.add(deadMan.close)
  const acts = createActs()
  closers.add(acts.close)
  const room = (): Room => roomOf(sizeOfHost(engine), config)
  let onChange = (): void => undefined
  let attempts: Attempts | null = null
  const { images, runner, lull, pool, supply, trial } = equip(
    { ...config, initDir },
    {
      ...{ engine, outbox, nonces, dir: initMount.dir, log, room },
      memoryFreeBytes: () => (attempts === null ? 0 : attempts.free().memoryBytes),
      onReady: () => onChange(),
    },
    acts.signal,
  )
  closers.add(pool.close)
  if (await engine.check()) await trial.run()
  else {
    progress(`The Docker engine at ${dockerHost} does not answer; calls wait for it.`)
    log.warn({ dockerHost }, 'the Docker engine does not answer')
  }

  const kept = await outbox.readKept()
  if (kept.notes.length === 0) await removeOldInitMounts(home, initMount)
  const opened = createAttempts({
    ...{ engine, runner, outbox, nonces, log, kept, supply, pool, lull, unfit: trial.unfit },
    room: room(),
    onChange: () => onChange(),
  })
  attempts = opened
  closers.add(opened.close)
  const sweeping = setInterval(opened.sweep, limits.sweepMs)
  closers.add(async () => clearInterval(sweeping))
  const forgetEngine = engine.onChange((isUp) => {
    log.warn({ isUp }, isUp ? 'the Docker engine answers' : 'the Docker engine does not answer')
    opened.resize(room())
  })
  closers.add(forgetEngine)
  if (trial.unfit() !== '') acts.start(trial.insist(acts.signal).then(() => onChange()))
  return {
    ...{ engine, images, outbox, pool, attempts: opened },
    isReady: () => engine.isUp() && trial.unfit() === '',
    hostFacts() {
      const { platform = '', runtimes = [] } = (trial.unfit() === '' && engine.facts()) || {}
      const { slots, memoryBytes } = opened.room()
      return { slots, memoryBytes, platform, runtimes: [...runtimes] }
    },
    setOnChange: (listener) => {
      onChange = listener
    },
    close: closers.closeAll,
  }
}
