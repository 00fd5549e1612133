/**
 * The engine of one host and the containers on it, as the agent's runner finds them: slow, hanging,
 * refusing, away with its containers or without. A container is hyper-init around one process:
 *
 *   waiting ─ frame ─► running ─ its end, its timeout, a kill, the dead man's switch ─► ended
 *      └─ STDIN closed before the frame: status 250 ─► ended          removed, in any state
 *
 * It outlives its agent. What it wrote is kept until it is removed, header and trailer included.
 */

import type { Engine, EngineFacts } from '../../agent/engine.ts'
import { NEVER_STARTED_STATUS } from '../../agent/init/frame.ts'
import { encodeHeader } from '../../agent/init/marks.ts'
import type { Runner, RunningContainer, Sinks } from '../../agent/runner/runner.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { digestOf, type History, type ProcessEnd } from './history.ts'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './scheduler.ts'
import { behaviourOf, errorTextOf, outputOf, PLATFORM, planOf } from './workload.ts'

const ORPHANED_MS = 600_000
const KILLED_STATUS = 137
const REASON = { exited: 1, signalled: 2, timeout: 4, orphaned: 6 } as const

interface Container {
  readonly id: string
  readonly attempt: string
  readonly labels: Readonly<Record<string, string>>
  phase: 'waiting' | 'running' | 'ended'
  exitCode: number
  oomKilled: boolean
  trailerNonce: Uint8Array
  /** What both streams brought so far. */
  stdout: Uint8Array[]
  stderr: Uint8Array[]
  sinks: Sinks | null
  isPaused: boolean
  endStreams: (reason: Error | null) => void
  readonly onEnd: Set<() => void>
}

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
  isUp(): boolean
  goDown(isKilling: boolean): void
  comeUp(): void
  /** What it had of containers is gone, by somebody else's hand. */
  wipe(): void
  /** The host lost power: nothing runs any more. */
  killAll(): void
  containers(): readonly {
    readonly id: string
    readonly attempt: string
    readonly isRunning: boolean
  }[]
}

interface EngineDeps {
  readonly agentId: string
  readonly scheduler: Scheduler
  readonly random: Random
  readonly history: History
  /** Of the host: containers run in its time. */
  readonly host: Process
  readonly newContainerId: () => string
  /** What the agent's disk has of an attempt. */
  readonly noteOf: (attempt: string) => 'none' | 'volatile' | 'synced'
}

const attemptOf = (labels: Readonly<Record<string, string>>): string =>
  `${labels['hyper.call']}.${labels['hyper.attempt']}.${labels['hyper.epoch']}`

const trailerOf = (nonce: Uint8Array, reason: number, isSignal: boolean, status: number) => {
  const trailer = Buffer.alloc(20)
  trailer.set(nonce)
  trailer.writeUInt8(reason, 16)
  trailer.writeUInt8(isSignal ? 1 : 0, 17)
  trailer.writeUInt16LE(status, 18)
  return trailer
}

const FACTS: EngineFacts = {
  ...{ version: '20', apiVersion: '1.41', memoryBytes: 2 ** 34, cpus: 4 },
  ...{ platform: PLATFORM, runtimes: ['runc'], rootDir: '/var/lib/docker' },
}

/** Life of the containers, without the agent's view of them. */
const createContainers = (deps: EngineDeps) => {
  const { agentId, history, host } = deps
  const containers = new Map<string, Container>()

  const emit = (container: Container, stream: 'stdout' | 'stderr', bytes: Uint8Array): void => {
    container[stream].push(bytes)
    if (container.sinks === null || container.isPaused) return
    if (stream === 'stdout') container.sinks.onStdout(bytes)
    else container.sinks.onStderr(bytes)
  }

  const finish = (container: Container, exitCode: number): void => {
    if (container.phase === 'ended') return
    container.phase = 'ended'
    container.exitCode = exitCode
    container.endStreams(null)
    for (const act of [...container.onEnd]) act()
    container.onEnd.clear()
  }

  const told = (container: Container, end: ProcessEnd, output: Uint8Array): void =>
    history.record({
      type: 'process-end',
      ...{ container: container.id, attempt: container.attempt, end },
      output: digestOf(output),
    })

  /** hyper-init's own end: the trailer on both streams, then its status 0. */
  const endWithTrailer = (
    container: Container,
    end: ProcessEnd,
    trailer: readonly [number, boolean, number],
    output: Uint8Array,
  ): void => {
    if (container.phase !== 'running') return
    told(container, end, output)
    const bytes = trailerOf(container.trailerNonce, ...trailer)
    emit(container, 'stdout', bytes)
    emit(container, 'stderr', bytes)
    finish(container, 0)
  }

  const kill = (container: Container): void => {
    if (container.phase === 'running') told(container, 'killed', new Uint8Array(0))
    finish(container, KILLED_STATUS)
  }

  const orphan = (container: Container): void =>
    endWithTrailer(container, 'orphaned', [REASON.orphaned, true, 15], new Uint8Array(0))

  const perform = (container: Container, payload: Uint8Array): void => {
    const input = digestOf(payload)
    const attempt = Number(container.labels['hyper.attempt'])
    const { end, exitCode, outputBytes } = behaviourOf(planOf(payload), attempt)
    const output = outputOf(container.attempt, input, outputBytes)
    if (container.phase !== 'running') return
    if (end === 'overflow') {
      // More than anybody reads: it waits until it is killed, or goes on where nobody reads.
      told(container, 'overflow', new Uint8Array(0))
      emit(container, 'stdout', new Uint8Array(limits.stdoutBytesMax + 1))
      if (container.phase === 'running' && container.sinks === null) kill(container)
      return
    }
    emit(container, 'stderr', Buffer.from(errorTextOf(container.attempt)))
    if (end === 'oom') {
      container.oomKilled = true
      told(container, 'oom', new Uint8Array(0))
      finish(container, KILLED_STATUS)
      return
    }
    emit(container, 'stdout', output)
    const failed = { end: 'failed', output: new Uint8Array(0) } as const
    if (end === 'signal') {
      endWithTrailer(container, failed.end, [REASON.signalled, true, 6], failed.output)
    } else if (exitCode !== 0) {
      endWithTrailer(container, failed.end, [REASON.exited, false, exitCode], failed.output)
    } else endWithTrailer(container, 'exited', [REASON.exited, false, 0], output)
  }

  const takeFrame = (container: Container, chunks: readonly Uint8Array[]): void => {
    const [front = new Uint8Array(0), payload = new Uint8Array(0)] = chunks
    if (container.phase !== 'waiting') return
    const head = Buffer.from(front.buffer, front.byteOffset, front.byteLength)
    const attempt = head.readUInt32LE(64)
    const timeoutMs = Number(head.readBigUInt64LE(72))
    container.phase = 'running'
    container.trailerNonce = Uint8Array.from(head.subarray(32, 48))
    const header = encodeHeader(
      head.subarray(16, 32),
      container.labels['hyper.call'] ?? '',
      attempt,
    )
    history.record({
      type: 'process',
      ...{ container: container.id, agentId, attempt: container.attempt, timeoutMs },
      input: digestOf(payload),
      note: deps.noteOf(container.attempt),
    })
    emit(container, 'stdout', header)
    emit(container, 'stderr', header)
    const { runMs } = behaviourOf(planOf(payload), attempt)
    if (timeoutMs > 0 && runMs > timeoutMs) {
      host.after(timeoutMs, () =>
        endWithTrailer(container, 'timeout', [REASON.timeout, true, 15], new Uint8Array(0)),
      )
    } else host.after(runMs, () => perform(container, payload))
  }

  const create = (labels: Readonly<Record<string, string>>): Container => {
    const container: Container = {
      ...{ id: deps.newContainerId(), attempt: attemptOf(labels), labels, phase: 'waiting' },
      ...{ exitCode: 0, oomKilled: false, trailerNonce: new Uint8Array(16) },
      ...{ stdout: [], stderr: [], sinks: null, isPaused: false },
      endStreams: () => undefined,
      onEnd: new Set(),
    }
    containers.set(container.id, container)
    const { id, attempt } = container
    history.record({ type: 'container', container: id, agentId, attempt })
    return container
  }

  const remove = (id: string): void => {
    const container = containers.get(id)
    if (container === undefined) return
    kill(container)
    containers.delete(id)
    history.record({ type: 'container-removed', container: id, agentId })
  }

  return { containers, create, remove, kill, orphan, finish, takeFrame }
}

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
        if (container.phase === 'waiting') life.finish(container, NEVER_STARTED_STATUS)
        container.sinks = null
        container.endStreams = () => undefined
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
        resume: () => {
          container.isPaused = false
        },
        detach: () => {
          container.sinks = null
          // hyper-init that waits for its frame sees the end of its STDIN.
          if (container.phase === 'waiting') life.finish(container, NEVER_STARTED_STATUS)
        },
      }
    }
    const start: Runner['start'] = (spec, signal) =>
      new Promise((resolve, reject) => {
        const asked = { agentId: deps.agentId, attempt: attemptOf(spec.labels) }
        deps.history.record({ type: 'container-asked', ...asked })
        const isHanging = random.chance(health.hangs)
        const isRefused = random.chance(health.refuses)
        const tookMs = isHanging ? limits.startMsMax : random.waitMs(health.startMs)
        const onAbort = (): void => reject(signal.reason)
        signal.addEventListener('abort', onAbort, { once: true })
        let isOver = false
        process.died.then(() => {
          // The engine made it for somebody who is gone.
          const isMade = !isOver && isUp && !isHanging && random.chance(0.5)
          isOver = true
          if (isMade) life.finish(life.create(spec.labels), NEVER_STARTED_STATUS)
        }, undefined)
        host.after(tookMs, () => {
          signal.removeEventListener('abort', onAbort)
          if (signal.aborted || isOver) return
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
      [...containers.values()].map(({ id, attempt, phase }) => ({
        ...{ id, attempt, isRunning: phase !== 'ended' },
      })),
  }
}
