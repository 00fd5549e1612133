/**
 * Containers as they are on a host: hyper-init around one process.
 *
 *   waiting ─ frame ─► running ─ its end, its timeout, the dead man's switch ─► leaving
 *      └─ STDIN closed before the frame: status 250 ─► ended          killed, removed in any state
 *   leaving ─ STDIN closed, or after a while ─► ended
 *
 * One outlives its agent. What it wrote is kept until it is removed, header and trailer included.
 */

import { NEVER_STARTED_STATUS } from '../../agent/init/frame.ts'
import { encodeHeader } from '../../agent/init/marks.ts'
import type { Sinks } from '../../agent/runner/runner.ts'
import { limits } from '../../protocol/limits.ts'
import { digestOf, type History, type ProcessEnd } from './history.ts'
import type { Process } from './scheduler.ts'
import { behaviourOf, errorTextOf, outputOf, planOf } from './workload.ts'

const KILLED_STATUS = 137
/** How long hyper-init, which has told all, waits for STDIN to be closed. */
const LEAVE_MS = 2000
const REASON = { exited: 1, signalled: 2, timeout: 4, orphaned: 6 } as const

export interface Container {
  readonly id: string
  /** '' while it is nobody's. */
  attempt: string
  readonly labels: Readonly<Record<string, string>>
  phase: 'waiting' | 'running' | 'leaving' | 'ended'
  exitCode: number
  oomKilled: boolean
  trailerNonce: Uint8Array
  /** What both streams brought so far. */
  stdout: Uint8Array[]
  stderr: Uint8Array[]
  sinks: Sinks | null
  isPaused: boolean
  /** It has written more than is read of it. */
  hasOverflown: boolean
  /** Its STDIN is closed. */
  isReleased: boolean
  endStreams: (reason: Error | null) => void
  readonly onEnd: Set<() => void>
}

export interface ContainersDeps {
  readonly agentId: string
  readonly history: History
  /** Of the host: containers run in its time. */
  readonly host: Process
  readonly newContainerId: () => string
  /** What the agent's disk has of an attempt. */
  readonly noteOf: (attempt: string) => 'none' | 'volatile' | 'synced'
}

const callIdOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

const trailerOf = (nonce: Uint8Array, reason: number, isSignal: boolean, status: number) => {
  const trailer = Buffer.alloc(20)
  trailer.set(nonce)
  trailer.writeUInt8(reason, 16)
  trailer.writeUInt8(isSignal ? 1 : 0, 17)
  trailer.writeUInt16LE(status, 18)
  return trailer
}

export const createContainers = (deps: ContainersDeps) => {
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
    container.phase = 'leaving'
    if (container.isReleased) finish(container, 0)
    else host.after(LEAVE_MS, () => finish(container, 0))
  }

  /** Its STDIN is closed: by its agent, or because that is gone. */
  const release = (container: Container): void => {
    container.isReleased = true
    if (container.phase === 'waiting') finish(container, NEVER_STARTED_STATUS)
    if (container.phase === 'leaving') finish(container, 0)
  }

  const kill = (container: Container): void => {
    if (container.phase === 'running') told(container, 'killed', new Uint8Array(0))
    finish(container, KILLED_STATUS)
  }

  const orphan = (container: Container): void =>
    endWithTrailer(container, 'orphaned', [REASON.orphaned, true, 15], new Uint8Array(0))

  const perform = (container: Container, payload: Uint8Array, attempt: number): void => {
    const input = digestOf(payload)
    const { end, exitCode, outputBytes } = behaviourOf(planOf(payload), attempt)
    const output = outputOf(container.attempt, input, outputBytes)
    if (container.phase !== 'running') return
    if (end === 'overflow') {
      // More than anybody reads: it waits until it is killed, or goes on where nobody reads.
      told(container, 'overflow', new Uint8Array(0))
      container.hasOverflown = true
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
    const header = encodeHeader(head.subarray(16, 32), callIdOf(head.subarray(48, 64)), attempt)
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
    } else host.after(runMs, () => perform(container, payload, attempt))
  }

  const create = (labels: Readonly<Record<string, string>>): Container => {
    const container: Container = {
      ...{ id: deps.newContainerId(), attempt: '', labels, phase: 'waiting' },
      ...{ exitCode: 0, oomKilled: false, trailerNonce: new Uint8Array(16) },
      ...{ stdout: [], stderr: [], sinks: null, isPaused: false },
      ...{ hasOverflown: false, isReleased: false },
      endStreams: () => undefined,
      onEnd: new Set(),
    }
    containers.set(container.id, container)
    history.record({ type: 'container', container: container.id, agentId })
    return container
  }

  const remove = (id: string): void => {
    const container = containers.get(id)
    if (container === undefined) return
    kill(container)
    containers.delete(id)
    history.record({ type: 'container-removed', container: id, agentId })
  }

  return { containers, create, remove, kill, orphan, finish, release, takeFrame }
}
