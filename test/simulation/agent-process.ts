/**
 * One process of an agent, from its start to its death: the shipped attempts, and what dials,
 * greets, beats and advertises for them. In life that runs on the machine's timers
 * (connection.ts, heartbeat.ts, advertiser.ts); here are its counterparts in virtual time, with the
 * same bounds.
 */

import { pino } from 'pino'
import { type Attempts, createAttempts } from '../../agent/attempts.ts'
import { createPullOrders } from '../../agent/pull-orders.ts'
import { createRedial } from '../../agent/redial.ts'
import { type AttemptKey, attemptName } from '../../protocol/call.ts'
import { HyperError } from '../../protocol/errors.ts'
import { imageKey } from '../../protocol/image.ts'
import { limits } from '../../protocol/limits.ts'
import {
  type AgentMessage,
  type CoordinatorMessage,
  type Hello,
  PROTOCOL_VERSION,
  type Welcome,
} from '../../protocol/messages.ts'
import { VERSION } from '../../protocol/version.ts'
import type { AgentDeps } from './agent-deps.ts'
import type { AgentDisk } from './agent-disk.ts'
import { createAgentSupply, IMAGES } from './agent-supply.ts'
import type { SimulatedEngine } from './engine.ts'
import { digestOf } from './history.ts'
import type { AgentEnd } from './link.ts'
import { createProcess } from './scheduler.ts'
import { IMAGE, PLATFORM } from './workload.ts'

const silent = pino({ level: 'silent' })

export const createAgentProcess = (
  deps: AgentDeps,
  host: { engine: SimulatedEngine; disk: AgentDisk; slots: () => number },
  onOver: () => void,
) => {
  const { agentId, scheduler, random, history, tempo } = deps
  const process = createProcess(scheduler, deps.drift)
  const outbox = host.disk.open(process)
  const { engine, runner } = host.engine.forAgent(process)
  const nonces = (container: string) => ({
    headerNonce: Uint8Array.from(Buffer.from(`h${container}`.padEnd(16, '-').slice(0, 16))),
    trailerNonce: Uint8Array.from(Buffer.from(`t${container}`.padEnd(16, '=').slice(0, 16))),
  })
  const { pool, lull, supply } = createAgentSupply(deps, host.engine, process, {
    ...{ engine, runner, log: silent },
  })
  let greetings = 0
  const nextGreeting = (): number => {
    greetings += 1
    return greetings
  }
  let attempts: Attempts | null = null
  let end: AgentEnd | null = null
  let session = 0
  let adverts = 0
  const redialling = createRedial({ warn: () => undefined }, scheduler.nowMs)
  const lostOrders: CoordinatorMessage[] = []
  const unsaid: { readonly epoch: number; readonly message: AgentMessage }[] = []
  let beats: { readonly sentMs: number; readonly attempts: readonly string[] }[] = []
  /** What is heard while a welcome is being taken in. */
  let joining: CoordinatorMessage[] | null = null
  let isLeaving = false

  const say = async (message: AgentMessage): Promise<void> => {
    const to = end
    if (to === null) throw new HyperError('UNREACHABLE', 'no connection')
    if (message.type === 'result') {
      history.record({
        type: 'reported',
        ...{ agentId, attempt: attemptName(message.key), code: message.result.code },
        ...{ started: message.result.started, output: digestOf(message.result.stdout) },
        isForged: false,
      })
    }
    await to.send(message)
  }

  const pulls = createPullOrders({
    ...{ images: IMAGES, send: say, onEnd: () => undefined, log: silent },
  })

  const advertise = (): void => {
    if (attempts === null) return
    adverts += 1
    const free = attempts.free()
    const engineUp = host.engine.isUp()
    deps.gossip({
      sequence: adverts,
      slotsFree: engineUp ? free.slots : 0,
      memoryFreeBytes: engineUp ? free.memoryBytes : 0,
      ...{ diskFreeBytes: 2 ** 34, diskFull: false },
      ...{ engineUp, draining: attempts.isDraining(), images: [imageKey(IMAGE)] },
      ready: [...pool.ready()].map(([key, count]) => ({ key, count })),
    })
  }
  const advertiseRegularly = (): void => {
    advertise()
    process.after(limits.advertMs, advertiseRegularly)
  }

  /** As premises.ts has it done. */
  const sweepRegularly = (of: Attempts): void =>
    process.after(limits.sweepMs, () => {
      of.sweep()
      sweepRegularly(of)
    })

  /** Heartbeats are answered in their order. */
  const answered = (): void => {
    const beat = beats.shift()
    if (beat === undefined || beat.attempts.length === 0) return
    history.record({ type: 'renewed', agentId, ...beat })
  }

  /** As heartbeat.ts: it beats, and gives up a coordinator that is silent for too long. */
  const beat = (own: AgentEnd, received: number, silentSinceMs: number): void => {
    if (end !== own || attempts === null || session === 0) return
    const nowMs = scheduler.nowMs()
    const heard = own.messagesReceived()
    const sinceMs = heard === received ? silentSinceMs : nowMs
    if (nowMs - sinceMs > limits.heartbeatSilenceMs) {
      own.close()
      return
    }
    const held = attempts.renewable()
    beats.push({ sentMs: nowMs, attempts: held.map(attemptName) })
    say({ type: 'heartbeat', session, attempts: [...held] }).catch(() => undefined)
    const everyMs = held.length > 0 ? tempo.busyMs : tempo.idleMs
    process.after(everyMs, () => beat(own, heard, sinceMs))
  }

  const hello = (of: Attempts): Hello => ({
    type: 'hello',
    ...{ protocol: PROTOCOL_VERSION, version: VERSION, storeId: outbox.storeId, host: agentId },
    ...{ start: outbox.start, greeting: nextGreeting() },
    ...{ slots: host.slots(), memoryBytes: deps.memoryBytes, platform: PLATFORM },
    ...{ runtimes: ['runc'], labels: deps.labels },
    ...of.hello(),
  })

  const redial = (): void => {
    process.after(redialling.pauseMs(random.fraction()), connect)
  }

  const onClosed = (own: AgentEnd | null): void => {
    if (own === null || end !== own) return
    end = null
    const wasWelcomed = session !== 0
    session = 0
    // What is still being joined is left when that is done.
    if (joining !== null) return
    if (wasWelcomed) attempts?.disconnected()
    redial()
  }

  /** Frames of an earlier session: whoever hears them must ignore them. */
  const turnUp = (own: AgentEnd, of: Attempts, epoch: number): void => {
    for (const { message, epoch: former } of unsaid.splice(0)) {
      // Sessions of another process of the coordinator have the same numbers.
      if (former === epoch) own.send(message).catch(() => undefined)
    }
    for (const order of lostOrders.splice(0)) {
      if (order.type !== 'welcome' && order.type !== 'goodbye') of.receive(order)
    }
  }

  /** A welcome is taken in before anything else is heard: the epoch is written first. */
  const join = async (own: AgentEnd, of: Attempts, welcome: Welcome): Promise<void> => {
    joining = []
    session = welcome.session
    beats = []
    redialling.welcomed()
    await of.connected(welcome, {
      send: say,
      disconnect: own.close,
      pulls,
    })
    const heard = joining
    joining = null
    if (end !== own) {
      of.disconnected()
      redial()
      return
    }
    const { epoch } = welcome
    history.record({ type: 'welcomed', agentId, epoch, session })
    for (const { key, verdict } of welcome.verdicts) if (verdict === 'cancel') toldToCancel(key)
    turnUp(own, of, epoch)
    beat(own, 0, scheduler.nowMs())
    for (const message of heard) onMessage(own, message)
  }

  const toldToCancel = (key: AttemptKey): void =>
    history.record({ type: 'told-to-cancel', agentId, attempt: attemptName(key) })

  const onMessage = (own: AgentEnd, message: CoordinatorMessage): void => {
    if (end !== own || attempts === null) return
    if (message.type === 'goodbye') own.close()
    else if (message.type === 'welcome') {
      // Nothing of it can fail but by a fault of ours, which ends the process.
      void join(own, attempts, message)
    } else if (joining !== null) joining.push(message)
    else {
      if (message.type === 'renewed') answered()
      if (message.type === 'cancel') toldToCancel(message.key)
      attempts.receive(message)
    }
  }

  const connect = (): void => {
    if (attempts === null || end !== null) return
    let own: AgentEnd | null = null
    try {
      own = deps.dial(process, {
        onMessage: (message) => own !== null && onMessage(own, message),
        onClosed: () => onClosed(own),
        onLost(order) {
          if (deps.isLate && lostOrders.length < 10) lostOrders.push(order)
        },
        onUnsaid(message) {
          if (!deps.isLate || unsaid.length >= 10 || message.type === 'hello') return
          unsaid.push({ epoch: attempts?.hello().epochSeen ?? 0, message })
        },
      })
    } catch {
      onOver()
      return
    }
    if (own === null) {
      redial()
      return
    }
    const mine = own
    end = mine
    const size = { slots: host.slots(), memoryBytes: deps.memoryBytes }
    history.record({ type: 'greets', agentId, ...size })
    mine.send(hello(attempts)).catch(() => undefined)
    process.after(limits.helloMs, () => {
      if (end === mine && session === 0) mine.close()
    })
  }

  const start = async (): Promise<void> => {
    await process.pause(random.between(50, 800))
    const kept = await outbox.readKept()
    attempts = createAttempts({
      ...{ engine, runner, outbox, nonces, log: silent, kept, supply, unfit: () => '' },
      ...{ pool, lull },
      runtimes: () => ['runc'],
      room: { slots: host.slots(), memoryBytes: deps.memoryBytes },
      onChange: () => undefined,
    })
    history.record({ type: 'agent', agentId, what: 'starts' })
    connect()
    advertiseRegularly()
    sweepRegularly(attempts)
  }
  start().catch((error: unknown) => {
    throw error
  })

  const leave = async (): Promise<void> => {
    const of = attempts
    if (of === null || isLeaving) return
    isLeaving = true
    of.drain(true)
    await process.pause(random.between(100, 20_000))
    of.leave()
    for (let tries = 0; tries < 40 && !(of.isQuiet() && of.unacknowledged() === 0); tries += 1) {
      await process.pause(1000)
    }
    if (session !== 0) await say({ type: 'leave', session }).catch(() => undefined)
    await pool.close()
    await process.pause(100)
    onOver()
  }

  return {
    process,
    leave: (): void => void leave(),
    isLeaving: () => isLeaving,
    attempts: () => attempts,
    session: () => session,
    connection: () => end,
    /** Whether it waits for a call. */
    isReady: pool.owns,
    advertise,
    reconnect: (): void => end?.close(),
  }
}
