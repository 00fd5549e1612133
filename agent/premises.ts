/**
 * Everything of an agent that is on its own host, without the mesh: home, engine, runner, images,
 * attempts. Opened in the order in which the parts need each other; `close` goes backwards.
 */

import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../daemon/log.ts'
import type { AgentConfig } from '../protocol/daemon.ts'
import { limits } from '../protocol/limits.ts'
import type { Hello } from '../protocol/messages.ts'
import { createActs } from './acts.ts'
import { type Attempts, createAttempts } from './attempts.ts'
import { machineClock } from './clock.ts'
import { startDeadMan } from './dead-man.ts'
import { createDisk, type Disk, type StatFs } from './disk.ts'
import { createDiskWatch, type DiskWatch } from './disk-watch.ts'
import { type Engine, startEngine } from './engine.ts'
import { equip, sizeOfHost } from './equipment.ts'
import { createEviction } from './eviction.ts'
import { type FirewallHost, thisHost } from './firewall.ts'
import { createImageRemoval } from './image-removal.ts'
import type { Images } from './images.ts'
import { findPrograms } from './init/programs.ts'
import { prepareInitMount, removeOldInitMounts } from './init-mount.ts'
import { createNonces, loadSecret } from './nonces.ts'
import { type Outbox, openOutbox } from './outbox.ts'
import type { Pool } from './pool.ts'
import { openPulledImages } from './pulled-images.ts'
import { cgroupParentOf, openCgroups } from './runner/oci/cgroups.ts'
import { type Room, roomOf } from './slots.ts'

export interface PremisesConfig
  extends Pick<
    AgentConfig,
    'home' | 'initDir' | 'slots' | 'memoryBytes' | 'ready' | 'runner' | 'dockerHost'
  > {
  /** On every container: outlives a lost store, so that nothing is left of it either. */
  readonly agentId: string
  /** Called when the engine has something to do, or is not there: until it answers there is time. */
  readonly onTrying?: () => void
  /** How free space is told; the system's own unless told otherwise. */
  readonly statfs?: StatFs
}

/** What a hello tells of this host. */
export type HostFacts = Pick<Hello, 'slots' | 'memoryBytes' | 'platform' | 'runtimes' | 'runner'>

export interface Premises {
  readonly engine: Engine
  readonly images: Images
  readonly outbox: Outbox
  readonly attempts: Attempts
  readonly pool: Pick<Pool, 'ready' | 'owns'>
  readonly disk: Disk
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

/** One that is not Docker's may do, and nobody has tried. */
const tellOther = (engine: Engine, log: Log): void => {
  const { product = 'Docker', version = '' } = engine.facts() ?? {}
  if (product !== 'Docker') log.warn({ product, version }, 'the engine is not Docker’s: untested')
}

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
  const { home, dockerHost } = config
  const engine = startEngine(dockerHost)
  closers.add(engine.close)
  const outbox = await openOutbox(home)
  closers.add(outbox.close)
  const pulled = await openPulledImages({
    ...{ path: join(home, 'pulled-images.json'), engine: dockerHost, nowMs: Date.now, log },
  })
  closers.add(pulled.close)
  const nonces = createNonces(await loadSecret(home))
  const initDir = await findPrograms({ home, initDir: config.initDir, progress })
  const initMount = await prepareInitMount({ home, initDir })
  const deadMan = await startDeadMan(initMount.switchPaths, (error) =>
    log.error({ err: error }, 'the dead man’s switch could not be turned'),
  )
  closers.add(deadMan.close)
  const cgroups = await openCgroups(cgroupParentOf(config.agentId))
  const acts = createActs()
  closers.add(acts.close)
  const room = (): Room => roomOf(sizeOfHost(engine), config)
  let onChange = (): void => undefined
  const changed = (): void => onChange()
  let attempts: Attempts | null = null
  let watch: DiskWatch | null = null
  const disk = createDisk({
    ...{ statfs: config.statfs ?? statfs, log, onChange: changed },
    paths: () => [engine.facts()?.rootDir ?? '', home].filter((path) => path !== ''),
  })
  const equipment = equip(
    { ...config, initDir },
    {
      ...{ engine, outbox, nonces, mountDir: initMount.dir, log, host, deadMan, room },
      ...{ disk, pulled, cgroups },
      memoryFreeBytes: () => (attempts === null ? 0 : attempts.free().memoryBytes),
      onChange: changed,
    },
    acts.signal,
  )
  const { images, runner, bridge, runtimes, lull, pool, supply, trial } = equipment
  closers.add(bridge.close)
  closers.add(equipment.close)
  if (await engine.check()) {
    tellOther(engine, log)
    const tried = trial.run()
    config.onTrying?.()
    await tried
    await runtimes.tryNew()
  } else {
    progress(`The Docker engine at ${dockerHost} does not answer; calls wait for it.`)
    log.warn({ dockerHost }, 'the Docker engine does not answer')
  }

  await disk.look()
  const kept = await outbox.readKept()
  if (kept.notes.length === 0) await removeOldInitMounts(home, initMount)
  const opened = createAttempts({
    ...{ engine, runner, outbox, nonces, log, kept, supply, pool, lull },
    unfit: () => trial.unfit() || disk.trouble(),
    runtimes: runtimes.offered,
    room: room(),
    onChange: () => {
      watch?.touch()
      onChange()
    },
  })
  attempts = opened
  closers.add(opened.close)
  watch = createDiskWatch({
    ...{ disk, clock: machineClock, log, running: opened.running },
    ...{ writtenBytes: runner.writtenBytes, end: opened.endOverfilled },
  })
  closers.add(watch.close)
  watch.touch()
  const secure = (): void => {
    if (engine.isUp()) acts.start(bridge.secure())
  }
  // Whoever needs the network waits for it.
  secure()
  const sweeping = setInterval(() => {
    opened.sweep()
    // A firewall that was loaded anew meanwhile forgot our rules.
    secure()
  }, limits.sweepMs)
  closers.add(async () => clearInterval(sweeping))
  const evict = createEviction({
    ...{ disk, pulled, removal: createImageRemoval(engine, equipment.unpin), nowMs: Date.now, log },
    onEvicted(id) {
      images.evicted(id)
      onChange()
    },
  })
  const evicting = setInterval(() => {
    if (engine.isUp()) acts.start(evict(acts.signal))
  }, limits.imagesLookMs)
  closers.add(async () => clearInterval(evicting))
  const forgetEngine = engine.onChange((isUp) => {
    log.warn({ isUp }, isUp ? 'the Docker engine answers' : 'the Docker engine does not answer')
    opened.resize(room())
    if (isUp) tellOther(engine, log)
    secure()
    // It may name others now, and before its trial nothing is run on it.
    if (isUp && trial.unfit() === '') acts.start(runtimes.tryNew())
  })
  closers.add(forgetEngine)
  if (trial.unfit() !== '')
    acts.start(trial.insist(acts.signal).then(changed).then(runtimes.tryNew))
  return {
    ...{ engine, images, outbox, pool, disk, attempts: opened },
    isReady: () => engine.isUp() && trial.unfit() === '',
    hostFacts() {
      const isFit = trial.unfit() === ''
      const platform = (isFit && engine.facts()?.platform) || ''
      const { slots, memoryBytes } = opened.room()
      return {
        ...{ slots, memoryBytes, platform, runner: runner.chosen() },
        runtimes: isFit ? runtimes.offered().slice(0, limits.runtimesMax) : [],
      }
    },
    setOnChange: (listener) => {
      onChange = listener
    },
    close: closers.closeAll,
  }
}
