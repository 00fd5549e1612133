/**
 * An agent on its host: its engine and its disk, which last, and its process, which comes and goes
 * (agent-process.ts).
 */

import { attemptName } from '../../protocol/call.ts'
import type { AgentMessage } from '../../protocol/messages.ts'
import type { AgentDeps } from './agent-deps.ts'
import { type AgentDisk, createAgentDisk } from './agent-disk.ts'
import { createAgentProcess } from './agent-process.ts'
import { createEngine, type SimulatedEngine } from './engine.ts'
import { digestOf } from './history.ts'
import { createProcess } from './scheduler.ts'

export interface SimulatedAgent {
  readonly id: string
  readonly engine: SimulatedEngine
  readonly disk: AgentDisk
  start(): void
  kill(): void
  losePower(): void
  loseStore(): void
  freeze(forMs: number): void
  freezeHost(forMs: number): void
  drain(isDraining: boolean): void
  /** Drains for a moment, stops what runs, and says farewell for good. */
  leave(): void
  /** Its owner takes it away, or it was told that it is no member: it never comes back. */
  retire(): void
  resize(slots: number): void
  isUp(): boolean
  isRetired(): boolean
  isLeaving(): boolean
  isConnected(): boolean
  /** A result of an attempt that this agent never had. */
  forge(message: Extract<AgentMessage, { type: 'result' }>): void
  isQuiet(): boolean
  /** The number of its session; 0 for none. */
  session(): number
}

export const createAgent = (deps: AgentDeps): SimulatedAgent => {
  const { agentId, scheduler, random, history } = deps
  const disk = createAgentDisk({ agentId, scheduler, random, history })
  const host = createProcess(scheduler, deps.drift)
  const engine = createEngine({
    ...{ agentId, scheduler, random, history, host, newContainerId: deps.newContainerId },
    noteOf: disk.noteOf,
  })
  let slots = deps.slots
  let isRetired = false
  let current: ReturnType<typeof createAgentProcess> | null = null

  const told = (what: Parameters<typeof history.record>[0] & { type: 'agent' }): void =>
    history.record(what)
  const end = (): void => {
    current?.process.kill()
    current = null
  }
  const retire = (): void => {
    isRetired = true
    end()
  }
  const standStill = (forMs: number): void => {
    if (current === null) return
    history.record({ type: 'stands-still', agentId, untilMs: scheduler.nowMs() + forMs })
    current.process.freeze(forMs)
  }
  const start = (): void => {
    if (current !== null || isRetired) return
    current = createAgentProcess(deps, { engine, disk, slots: () => slots }, retire)
  }

  return {
    id: agentId,
    ...{ engine, disk, start, retire },
    kill() {
      if (current === null) return
      told({ type: 'agent', agentId, what: 'is killed' })
      end()
    },
    losePower() {
      told({ type: 'agent', agentId, what: 'loses power' })
      end()
      engine.killAll()
      disk.loseUnsynced()
    },
    loseStore() {
      told({ type: 'agent', agentId, what: 'loses its store' })
      end()
      disk.lose()
    },
    freeze: standStill,
    freezeHost(forMs) {
      host.freeze(forMs)
      standStill(forMs)
    },
    drain(isDraining) {
      told({ type: 'agent', agentId, what: isDraining ? 'drains' : 'drains no more' })
      current?.attempts()?.drain(isDraining)
    },
    leave() {
      told({ type: 'agent', agentId, what: 'leaves' })
      current?.leave()
    },
    resize(to) {
      slots = to
      current?.attempts()?.resize({ slots, memoryBytes: deps.memoryBytes })
      current?.reconnect()
    },
    isUp: () => current !== null,
    isRetired: () => isRetired,
    isLeaving: () => current?.isLeaving() ?? false,
    isConnected: () => (current?.session() ?? 0) !== 0,
    forge(message) {
      const to = current?.connection()
      if (to === null || to === undefined) return
      history.record({
        type: 'reported',
        ...{ agentId, attempt: attemptName(message.key), code: message.result.code },
        ...{ started: true, output: digestOf(message.result.stdout), isForged: true },
      })
      to.send(message).catch(() => undefined)
    },
    isQuiet: () => {
      // Who stands still has yet to hear what came to it meanwhile.
      if (current?.process.isFrozen() === true) return false
      const attempts = current?.attempts()
      return attempts === undefined || attempts === null
        ? current === null
        : attempts.isQuiet() && attempts.unacknowledged() === 0
    },
    session: () => current?.session() ?? 0,
  }
}
