/**
 * The engine of one host and the containers on it, as the agent's runner finds them: slow, hanging,
 * refusing, away with its containers or without. What the containers themselves do is in containers.ts.
 */

import type { Engine, EngineFacts } from '../../agent/engine.ts'
import { NEVER_STARTED_STATUS } from '../../agent/init/frame.ts'
import type { Runner, RunningContainer } from '../../agent/runner/runner.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { type Container, type ContainersDeps, createContainers } from './containers.ts'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './scheduler.ts'
import { PLATFORM } from './workload.ts'

const ORPHANED_MS = 600_000

interface EngineHealth {
  startMs: number
  /** Likelihoods, of a start: it hangs until it is given up, or is refused. */
  hangs: number
  refuses: number
}

export interface SimulatedEngine {
  readonly health: EngineHealth
  /** The engine as one process of the agent sees it. */
  forAgent(process: Process): {
    engine: Pick<Engine, 'isUp' | 'facts' | 'onChange'>
    runner: Runner
  }
  /** Of which attempt the container is now. */
  assign(id: string, attempt: string): void
  isUp(): boolean
  goDown(isKilling: boolean): void
  comeUp(): void
  /** What it had of containers is gone, by somebody else's hand. */
  wipe(): void
  /** The host lost power: nothing runs any more. */
  killAll(): void
  containers(): readonly {
    readonly id: string
    readonly labels: Readonly<Record<string, string>>
    readonly attempt: string
    readonly isRunning: boolean
  }[]
}

interface EngineDeps extends ContainersDeps {
  readonly scheduler: Scheduler
  readonly random: Random
}

const FACTS: EngineFacts = {
  ...{ version: '20', apiVersion: '1.41', memoryBytes: 2 ** 34, cpus: 4 },
  ...{
    platform: PLATFORM,
    runtimes: ['runc'],
    runtimeWords: {},
    defaultRuntime: 'runc',
    product: 'Docker',
    unlimited: [],
    apiTrouble: '',
    rootDir: '/var/lib/docker',
    storageDriver: 'overlay2',
    securityOptions: [],
  },
}

/** Life of the containers, without the agent's view of them. */
export const createEngine = (deps: EngineDeps): SimulatedEngine => {
  const { random, host } = deps
  const health: EngineHealth = { startMs: 200, hangs: 0, refuses: 0 }
  const life = createContainers(deps)
  const { containers } = life
  const listeners = new Set<{ readonly process: Process; readonly act: (isUp: boolean) => void }>()
  let isUp = true
  /** Nobody turned the switch since then, while it is a number. */
  let agents = 0

  const tell = (): void => {
    for (const { process, act } of [...listeners]) process.after(random.below(500), () => act(isUp))
  }

  const watchAgent = (process: Process): void => {
    agents += 1
    const mine = agents
    process.died.then(() => {
      for (const container of containers.values()) {
        container.sinks = null
        container.endStreams = () => undefined
        life.release(container)
        // What waited to be read goes on, and comes to its end.
        if (container.hasOverflown && container.phase === 'running') life.kill(container)
      }
      host.after(ORPHANED_MS, () => {
        if (agents !== mine) return
        for (const container of [...containers.values()]) life.orphan(container)
      })
    }, undefined)
  }

  const forAgent = (process: Process) => {
    watchAgent(process)
    /** Goes on once the engine answers. */
    const answered = async (signal: AbortSignal): Promise<void> => {
      await process.pause(random.below(30))
      while (!isUp) await process.pause(1000)
      signal.throwIfAborted()
    }
    const handleOf = (container: Container): RunningContainer => {
      const { promise: ended, resolve } = Promise.withResolvers<Error | null>()
      container.endStreams = (reason) => process.take(() => resolve(reason))
      return {
        id: container.id,
        ended,
        read(sinks) {
          // What a process brings waits while its reader stands still.
          const later = (act: (bytes: Uint8Array) => void) => (bytes: Uint8Array) =>
            process.take(() => {
              if (container.sinks === own && !container.isPaused) act(bytes)
            })
          const own = { onStdout: later(sinks.onStdout), onStderr: later(sinks.onStderr) }
          container.sinks = own
        },
        write: (chunks) =>
          host.after(random.below(5), () => {
            // A pipe from a dead agent brings nothing more.
            if (process.isAlive()) life.takeFrame(container, chunks)
          }),
        pause: () => {
          container.isPaused = true
        },
        ignore: () => {
          container.sinks = null
        },
        async release() {
          host.after(random.below(20), () => life.release(container))
          await ended
        },
        detach: () => {
          container.sinks = null
          life.release(container)
          resolve(null)
        },
      }
    }
    const start: Runner['start'] = (spec, signal) =>
      new Promise((resolve, reject) => {
        const isHanging = random.chance(health.hangs)
        const isRefused = random.chance(health.refuses)
        const tookMs = isHanging ? limits.startMsMax : random.waitMs(health.startMs)
        let isOver = false
        /** The engine goes on making it for somebody who waits no more, and may be slow at that. */
        const abandon = (): void => {
          const isMade = !isOver && isUp && !isHanging && random.chance(0.5)
          isOver = true
          if (!isMade) return
          host.after(random.below(limits.startMsMax), () => {
            if (isUp) life.finish(life.create(spec.labels), NEVER_STARTED_STATUS)
          })
        }
        const onAbort = (): void => {
          abandon()
          reject(signal.reason)
        }
        signal.addEventListener('abort', onAbort, { once: true })
        process.died.then(abandon, undefined)
        host.after(tookMs, () => {
          signal.removeEventListener('abort', onAbort)
          if (isOver) return
          isOver = true
          const why = isHanging || isRefused || !isUp
          if (why) process.take(() => reject(new HyperError('START_FAILED', 'not started')))
          else {
            const handle = handleOf(life.create(spec.labels))
            process.take(() => resolve(handle))
          }
        })
      })
    const runner: Runner = {
      start,
      async state(id, signal) {
        await answered(signal)
        const found = containers.get(id)
        if (found === undefined) return null
        const { exitCode, oomKilled } = found
        return { isRunning: found.phase !== 'ended', exitCode, oomKilled }
      },
      async writtenBytes(_id, signal) {
        await answered(signal)
        return 0
      },
      async waitForEnd(id, signal) {
        await answered(signal)
        const found = containers.get(id)
        if (found === undefined || found.phase === 'ended') return
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        const onEnd = (): void => process.after(random.below(20), resolve)
        found.onEnd.add(onEnd)
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        await promise
      },
      async readLog(id, sinks, signal) {
        await answered(signal)
        const found = containers.get(id)
        for (const bytes of found?.stdout ?? []) sinks.onStdout(bytes)
        for (const bytes of found?.stderr ?? []) sinks.onStderr(bytes)
      },
      async remove(id, signal) {
        await answered(signal)
        await process.pause(random.below(100))
        life.remove(id)
      },
      async list(signal) {
        await answered(signal)
        return [...containers.values()].map(({ id, labels, phase }) => ({
          ...{ id, labels, isRunning: phase !== 'ended' },
        }))
      },
    }
    const engine: Pick<Engine, 'isUp' | 'facts' | 'onChange'> = {
      isUp: () => isUp,
      facts: () => FACTS,
      onChange(act) {
        const listener = { process, act }
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
    }
    return { engine, runner }
  }

  return {
    health,
    forAgent,
    assign(id, attempt) {
      const container = containers.get(id)
      if (container === undefined) return
      container.attempt = attempt
      deps.history.record({ type: 'container-taken', container: id, attempt })
    },
    isUp: () => isUp,
    goDown(isKilling) {
      if (!isUp) return
      isUp = false
      for (const container of [...containers.values()]) {
        container.endStreams(new Error('the engine closed the streams'))
        container.sinks = null
        if (isKilling) life.kill(container)
      }
      tell()
    },
    comeUp() {
      if (isUp) return
      isUp = true
      tell()
    },
    wipe() {
      for (const container of [...containers.values()]) {
        life.kill(container)
        containers.delete(container.id)
      }
    },
    killAll() {
      for (const container of [...containers.values()]) life.kill(container)
    },
    containers: () =>
      [...containers.values()].map(({ id, labels, attempt, phase }) => ({
        ...{ id, labels, attempt, isRunning: phase !== 'ended' },
      })),
  }
}
