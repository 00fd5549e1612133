/**
 * Everything of an agent that is on its own host, without the mesh: home, engine, runner, images,
 * attempts. Opened in the order in which the parts need each other; `close` goes backwards.
 */

import { availableParallelism, totalmem } from 'node:os'
import type { Log } from '../daemon/log.ts'
import type { AgentConfig } from '../protocol/daemon.ts'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { Hello } from '../protocol/messages.ts'
import { createActs } from './acts.ts'
import { type Attempts, createAttempts } from './attempts.ts'
import { createBridge } from './bridge.ts'
import { type DeadMan, startDeadMan } from './dead-man.ts'
import { type Engine, startEngine } from './engine.ts'
import { type FirewallHost, thisHost } from './firewall.ts'
import { createImages, type Images } from './images.ts'
import { prepareInitMount, removeOldInitMounts } from './init-mount.ts'
import { createNonces, type DeriveNonces, loadSecret } from './nonces.ts'
import { type Outbox, openOutbox } from './outbox.ts'
import { probeEngine, probeRuntime } from './probe.ts'
import { createDockerRunner } from './runner/docker.ts'
import type { Runner } from './runner/runner.ts'
import { createRuntimes, type Runtimes } from './runtimes.ts'
import { type Room, roomOf } from './slots.ts'
import { createSupply } from './supply.ts'
import { createTrial } from './trial.ts'

export interface PremisesConfig
  extends Pick<AgentConfig, 'home' | 'initDir' | 'slots' | 'memoryBytes' | 'dockerHost'> {
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

/** Before a container is tried on it. Throws ENGINE_UNSUITABLE. */
const refuseUnknown = (engine: Engine): void => {
  const { apiTrouble = '', product = '', version = '' } = engine.facts() ?? {}
  if (apiTrouble === '') return
  throw new HyperError('ENGINE_UNSUITABLE', `${product} ${version} cannot be used: ${apiTrouble}`)
}

/** One that is not Docker's may do, and nobody has tried. */
const tellOther = (engine: Engine, log: Log): void => {
  const { product = 'Docker', version = '' } = engine.facts() ?? {}
  if (product !== 'Docker') log.warn({ product, version }, 'the engine is not Docker’s: untested')
}

const sizeOfHost = (engine: Engine) =>
  engine.facts() ?? { cpus: availableParallelism(), memoryBytes: totalmem() }

export const openPremises = async (
  config: PremisesConfig,
  log: Log,
  progress: (message: string) => void = () => undefined,
  host: FirewallHost = thisHost,
): Promise<Premises> => {
  const closers = createClosers(log)
  try {
    return await open({ config, log, progress, host, closers })
  } catch (error) {
    await closers.closeAll()
    throw error
  }
}

/** What runs containers here, and the trial of it. */
const equip = (
  config: PremisesConfig,
  deps: {
    readonly engine: Engine
    readonly outbox: Outbox
    readonly nonces: DeriveNonces
    readonly dir: string
    readonly log: Log
    readonly host: FirewallHost
    readonly deadMan: DeadMan
    readonly onChange: () => void
  },
  signal: AbortSignal,
) => {
  const { engine, nonces, log } = deps
  const bridge = createBridge(deps)
  const images = createImages({ engine, initDir: config.initDir })
  const identity = { agentId: config.agentId, storeId: deps.outbox.storeId }
  const runner = createDockerRunner(engine, identity)
  const cpus = (): number => sizeOfHost(engine).cpus
  const supplyOf = (by: Runner, runtimes: Pick<Runtimes, 'check'>) =>
    createSupply({
      ...{ images, cpus, bridge, runtimes, runner: by },
      ...{ startsMax: cpus(), initDir: deps.dir },
    })
  const prober = createDockerRunner(engine, { ...identity, agentId: `${identity.agentId}.probe` })
  const probing = {
    ...{ runner: prober, nonces, signal, turnSwitch: deps.deadMan.turn },
    supply: supplyOf(prober, { check: () => undefined }),
  }
  const tryEngine = async (): Promise<void> => {
    refuseUnknown(engine)
    await probeEngine(probing)
  }
  const trial = createTrial({ engine, probe: tryEngine, log })
  const probe = (runtime: string): Promise<void> => probeRuntime(probing, runtime)
  const runtimes = createRuntimes({ engine, probe, log, onChange: deps.onChange })
  return { images, runner, bridge, runtimes, supply: supplyOf(runner, runtimes), trial }
}

const open = async ({
  config,
  log,
  progress,
  host,
  closers,
}: {
  readonly config: PremisesConfig
  readonly log: Log
  readonly progress: (message: string) => void
  readonly host: FirewallHost
  readonly closers: ReturnType<typeof createClosers>
}): Promise<Premises> => {
  const { home, initDir, dockerHost } = config
  const engine = startEngine(dockerHost)
  closers.add(engine.close)
  const outbox = await openOutbox(home)
  closers.add(outbox.close)
  const nonces = createNonces(await loadSecret(home))
  const initMount = await prepareInitMount({ home, initDir })
  const deadMan = await startDeadMan(initMount.switchPaths, (error) =>
    log.error({ err: error }, 'the dead man’s switch could not be turned'),
  )
  closers.add(deadMan.close)
  const acts = createActs()
  closers.add(acts.close)
  let onChange = (): void => undefined
  const changed = (): void => onChange()
  const deps = { engine, outbox, nonces, dir: initMount.dir, log, host, deadMan }
  const equipped = { ...deps, onChange: changed }
  const { images, runner, bridge, runtimes, supply, trial } = equip(config, equipped, acts.signal)
  closers.add(bridge.close)
  if (await engine.check()) {
    tellOther(engine, log)
    await trial.run()
    await bridge.secure()
    await runtimes.tryNew()
  } else {
    progress(`The Docker engine at ${dockerHost} does not answer; calls wait for it.`)
    log.warn({ dockerHost }, 'the Docker engine does not answer')
  }

  const kept = await outbox.readKept()
  if (kept.notes.length === 0) await removeOldInitMounts(home, initMount)
  const room = (): Room => roomOf(sizeOfHost(engine), config)
  const attempts = createAttempts({
    ...{ engine, runner, outbox, nonces, log, kept, supply, unfit: trial.unfit },
    runtimes: runtimes.offered,
    room: room(),
    onChange: changed,
  })
  closers.add(attempts.close)
  const secure = (): void => {
    if (engine.isUp()) acts.start(bridge.secure())
  }
  const sweeping = setInterval(() => {
    attempts.sweep()
    // A firewall that was loaded anew meanwhile forgot our rules.
    secure()
  }, limits.sweepMs)
  closers.add(async () => clearInterval(sweeping))
  const forgetEngine = engine.onChange((isUp) => {
    log.warn({ isUp }, isUp ? 'the Docker engine answers' : 'the Docker engine does not answer')
    attempts.resize(room())
    if (isUp) tellOther(engine, log)
    secure()
    // It may name others now, and before its trial nothing is run on it.
    if (isUp && trial.unfit() === '') acts.start(runtimes.tryNew())
  })
  closers.add(forgetEngine)
  if (trial.unfit() !== '')
    acts.start(trial.insist(acts.signal).then(changed).then(runtimes.tryNew))
  return {
    ...{ engine, images, outbox, attempts },
    isReady: () => engine.isUp() && trial.unfit() === '',
    hostFacts() {
      const isFit = trial.unfit() === ''
      const platform = (isFit && engine.facts()?.platform) || ''
      const { slots, memoryBytes } = attempts.room()
      return { slots, memoryBytes, platform, runtimes: isFit ? [...runtimes.offered()] : [] }
    },
    setOnChange: (listener) => {
      onChange = listener
    },
    close: closers.closeAll,
  }
}
