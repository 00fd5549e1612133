/**
 * One connection between an agent and a coordinator: two ordered lanes. Nothing is reordered and
 * nothing is doubled in it; a cut loses the tail of both lanes. It can be *stalled* (what is sent
 * waits, and comes when the stall ends) and *half open* (one side is told of the end, the other
 * hears nothing until its own watch gives up).
 */

import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { MemberChannel } from '../../protocol/mesh/agent-channel.ts'
import type { AgentMessage, CoordinatorMessage } from '../../protocol/messages.ts'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './scheduler.ts'

/** How a connection is, as both sides find it. */
interface Weather {
  delayMs: number
}

export interface AgentEnd {
  readonly send: (message: AgentMessage) => Promise<void>
  readonly isOpen: () => boolean
  /** Ends it from this side. */
  readonly close: () => void
  readonly messagesReceived: () => number
}

export interface Link {
  readonly agentId: string
  readonly memberChannel: MemberChannel
  readonly agentEnd: AgentEnd
  stall(): void
  unstall(): void
  cut(): void
  /** Only this side is told. */
  cutFor(side: 'agent' | 'coordinator'): void
  /** The coordinator's process is gone: its side says nothing more. */
  readonly isOver: () => boolean
}

export interface LinkDeps {
  readonly agentId: string
  readonly scheduler: Scheduler
  readonly random: Random
  readonly weather: Weather
  readonly agentProcess: Process
  readonly coordinatorProcess: Process
  readonly onMessage: (message: CoordinatorMessage) => void
  /** The agent's side ended. */
  readonly onClosed: () => void
  /** What was on its way when the connection was cut: lost, but for somebody's old buffer. */
  readonly onLost: (message: CoordinatorMessage) => void
  readonly onUnsaid: (message: AgentMessage) => void
}

const silence = (): HyperError => new HyperError('UNREACHABLE', 'the other side fell silent')

/** An ordered way: what is sent arrives later, in order, or waits while it is stalled, or is lost. */
const createLane = <T>(
  deps: LinkDeps,
  receiver: Process,
  take: (message: T) => void,
  onLost: (message: T) => void,
) => {
  const { scheduler, random, weather } = deps
  let lastMs = 0
  let isStalled = false
  let isLost = false
  let held: T[] = []
  const arrive = (message: T): void => {
    if (isLost) onLost(message)
    else if (isStalled) held.push(message)
    // Its process may stand still: then it lies there and waits.
    else receiver.take(() => take(message))
  }
  return {
    send(message: T): void {
      lastMs = Math.max(lastMs, scheduler.nowMs() + random.below(weather.delayMs + 1))
      scheduler.after(lastMs - scheduler.nowMs(), () => arrive(message))
    },
    stall: (): void => {
      isStalled = true
    },
    unstall(): void {
      isStalled = false
      const messages = held
      held = []
      for (const message of messages) arrive(message)
    },
    lose(): void {
      isLost = true
      for (const message of held.splice(0)) onLost(message)
    },
  }
}

/** Messages as an iterator, as a channel gives them. */
const createInbox = <T>() => {
  const waiting: T[] = []
  let isEnded = false
  let arrival = Promise.withResolvers<void>()
  const messages: AsyncIterableIterator<T> = {
    async next() {
      for (;;) {
        const first = waiting.shift()
        if (first !== undefined) return { done: false, value: first }
        if (isEnded) return { done: true, value: undefined }
        arrival = Promise.withResolvers()
        await arrival.promise
      }
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
  return {
    messages,
    push(message: T): void {
      waiting.push(message)
      arrival.resolve()
    },
    end(isDiscarding: boolean): void {
      if (isDiscarding) waiting.length = 0
      isEnded = true
      arrival.resolve()
    },
  }
}

export const createLink = (deps: LinkDeps): Link => {
  const { scheduler, random, weather, agentProcess, coordinatorProcess } = deps
  const inbox = createInbox<AgentMessage>()
  const { promise: closed, resolve: resolveClosed } = Promise.withResolvers<Error | null>()
  let isAgentOpen = true
  let isCoordinatorOpen = true
  let isStalled = false
  let agentReceived = 0
  let coordinatorReceived = 0

  const hearOnCoordinator = (message: AgentMessage): void => {
    if (!isCoordinatorOpen) return
    coordinatorReceived += 1
    inbox.push(message)
  }
  const hearOnAgent = (message: CoordinatorMessage): void => {
    if (!isAgentOpen) return
    agentReceived += 1
    deps.onMessage(message)
  }
  const toCoordinator = createLane(deps, coordinatorProcess, hearOnCoordinator, deps.onUnsaid)
  const toAgent = createLane(deps, agentProcess, hearOnAgent, deps.onLost)

  const closeAgent = (): void => {
    if (!isAgentOpen) return
    isAgentOpen = false
    toAgent.lose()
    deps.onClosed()
  }
  const closeCoordinator = (reason: Error | null, isDiscarding: boolean): void => {
    if (!isCoordinatorOpen) return
    isCoordinatorOpen = false
    toCoordinator.lose()
    inbox.end(isDiscarding)
    resolveClosed(reason)
  }
  const soon = (process: Process, act: () => void): void =>
    process.after(random.below(weather.delayMs + 1), act)
  /** The other side hears of an end, unless nothing comes through. */
  const tellAgent = (): void => {
    if (!isStalled) soon(agentProcess, closeAgent)
  }
  const tellCoordinator = (): void => {
    if (!isStalled) soon(coordinatorProcess, () => closeCoordinator(silence(), false))
  }
  const loseBoth = (): void => {
    toAgent.lose()
    toCoordinator.lose()
  }

  /** As roster.ts watches its channels, in virtual time. */
  const watch = (): void => {
    let seen = coordinatorReceived
    const look = (): void => {
      if (!isCoordinatorOpen) return
      if (coordinatorReceived === seen) {
        closeCoordinator(silence(), true)
        tellAgent()
        return
      }
      seen = coordinatorReceived
      coordinatorProcess.after(limits.heartbeatSilenceMs, look)
    }
    coordinatorProcess.after(limits.heartbeatSilenceMs, look)
  }
  watch()
  // A process that dies takes its sockets along.
  agentProcess.died.then(() => {
    isAgentOpen = false
    scheduler.after(random.below(weather.delayMs + 1), () => {
      if (!isStalled) coordinatorProcess.take(() => closeCoordinator(silence(), false))
    })
  }, undefined)
  coordinatorProcess.died.then(() => {
    // The real timers of its roster must go with it.
    closeCoordinator(silence(), true)
    scheduler.after(random.below(weather.delayMs + 1), () => {
      if (!isStalled) agentProcess.take(closeAgent)
    })
  }, undefined)

  return {
    agentId: deps.agentId,
    isOver: () => !isAgentOpen && !isCoordinatorOpen,
    memberChannel: {
      remotePeer: deps.agentId,
      async send(message) {
        if (!isCoordinatorOpen) throw silence()
        toAgent.send(message)
      },
      messages: inbox.messages,
      // Nobody looks: the roster's own watch is left out (coordinator.ts).
      bytesReceived: () => 0,
      async close() {
        closeCoordinator(null, true)
        tellAgent()
      },
      abort(reason) {
        closeCoordinator(reason, true)
        tellAgent()
      },
      closed,
    },
    agentEnd: {
      async send(message) {
        if (!isAgentOpen) throw silence()
        toCoordinator.send(message)
      },
      isOpen: () => isAgentOpen,
      close() {
        if (!isAgentOpen) return
        closeAgent()
        tellCoordinator()
      },
      messagesReceived: () => agentReceived,
    },
    stall() {
      isStalled = true
      toAgent.stall()
      toCoordinator.stall()
    },
    unstall() {
      isStalled = false
      toAgent.unstall()
      toCoordinator.unstall()
      // What ended meanwhile is told now.
      if (!isAgentOpen) tellCoordinator()
      if (!isCoordinatorOpen) tellAgent()
    },
    cut() {
      loseBoth()
      soon(agentProcess, closeAgent)
      soon(coordinatorProcess, () => closeCoordinator(silence(), false))
    },
    cutFor(side) {
      loseBoth()
      isStalled = true
      if (side === 'agent') soon(agentProcess, closeAgent)
      else soon(coordinatorProcess, () => closeCoordinator(silence(), false))
    },
  }
}
