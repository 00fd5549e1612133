/**
 * Everything of an agent that is on its own host, without the mesh: home, engine, runner, images,
 * attempts. Opened in the order in which the parts need each other; `close` goes backwards.
 */

import { availableParallelism, totalmem } from 'node:os'
import type { Log } from '../daemon/log.ts'
import type { AgentConfig } from '../protocol/daemon.ts'
import { messageOf } from '../protocol/errors.ts'
import { type Attempts, createAttempts } from './attempts.ts'
import { startDeadMan } from './dead-man.ts'
import { createEngine, type Engine } from './engine.ts'
import { createImages, type Images } from './images.ts'
import { prepareInitMount, removeOldInitMounts } from './init-mount.ts'
import { createNonces, loadSecret } from './nonces.ts'
import { type Outbox, openOutbox } from './outbox.ts'
import { probeEngine } from './probe.ts'
import { createDockerRunner } from './runner/docker.ts'
import { type Room, roomOf } from './slots.ts'
import { createSupply } from './supply.ts'

export interface PremisesConfig
  extends Pick<AgentConfig, 'home' | 'initDir' | 'slots' | 'memoryBytes' | 'dockerHost'> {
  /** On every container: outlives a lost store, so that nothing is left of it either. */
  readonly agentId: string
}

export interface Premises {
  readonly engine: Engine
  readonly images: Images
  readonly outbox: Outbox
  readonly attempts: Attempts
  readonly room: Room
  /** Who is told of every change of what an advert tells. */
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

/** The engine is tried once: at the start, or as soon as it comes. Until then no call is taken. */
const createTrial = (probe: () => Promise<void>) => {
  let unfit = 'the Docker engine was not tried yet'
  let hasRun = false
  return {
    unfit: (): string => unfit,
    hasRun: (): boolean => hasRun,
    async run(): Promise<void> {
      hasRun = true
      try {
        await probe()
        unfit = ''
      } catch (error) {
        unfit = messageOf(error)
        throw error
      }
    },
  }
}

const open = async (
  config: PremisesConfig,
  log: Log,
  progress: (message: string) => void,
  closers: ReturnType<typeof createClosers>,
): Promise<Premises> => {
  const { home, initDir, dockerHost } = config
  const engine = createEngine(dockerHost)
  closers.add(engine.close)
  const outbox = await openOutbox(home)
  closers.add(outbox.close)
  const nonces = createNonces(await loadSecret(home))
  const initMount = await prepareInitMount({ home, initDir })
  const deadMan = await startDeadMan(initMount.switchPaths, (error) =>
    log.error({ err: error }, 'the dead man’s switch could not be turned'),
  )
  closers.add(deadMan.close)

  const images = createImages({ engine, initDir })
  const identity = { agentId: config.agentId, storeId: outbox.storeId }
  const runner = createDockerRunner(engine, identity)
  const cpus = (): number => sizeOfHost(engine).cpus
  const supplyOf = (by: typeof runner) =>
    createSupply({ images, cpus, runner: by, startsMax: cpus(), initDir: initMount.dir })

  const trial = createTrial(() => {
    const own = createDockerRunner(engine, { ...identity, agentId: `${identity.agentId}.probe` })
    return probeEngine({ runner: own, supply: supplyOf(own), nonces })
  })
  if (await engine.check()) await trial.run()
  else {
    progress(`The Docker engine at ${dockerHost} does not answer; calls wait for it.`)
    log.warn({ dockerHost }, 'the Docker engine does not answer')
  }

  const kept = await outbox.readKept()
  if (kept.notes.length === 0) await removeOldInitMounts(home, initMount)
  const room = roomOf(sizeOfHost(engine), config)
  let onChange = (): void => undefined
  const attempts = createAttempts({
    ...{ engine, runner, outbox, nonces, log, room, kept },
    ...{ supply: supplyOf(runner), unfit: trial.unfit },
    onChange: () => onChange(),
  })
  closers.add(attempts.close)
  const forgetEngine = engine.onChange((isUp) => {
    log.warn({ isUp }, isUp ? 'the Docker engine answers' : 'the Docker engine does not answer')
    if (!isUp || trial.hasRun()) return
    trial.run().catch((error: unknown) => {
      log.error({ reason: messageOf(error) }, 'the Docker engine is unsuitable: no calls are taken')
    })
  })
  closers.add(forgetEngine)
  return {
    ...{ engine, images, outbox, attempts, room },
    setOnChange: (listener) => {
      onChange = listener
    },
    close: closers.closeAll,
  }
}
