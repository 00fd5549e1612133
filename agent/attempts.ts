/**
 * The agent's attempts, alive: holds the state of attempt.ts and takes events through it one after
 * the other. It knows no mesh: what it has to say goes to the session's `send`, what it is told
 * comes by `receive`. Containers that no attempt needs are swept whenever the engine comes up, and
 * every `sweepMs`: an engine may make one for a process of ours that died meanwhile.
 */

import { type AttemptKey, attemptName } from '../protocol/call.ts'
import type { CoordinatorOrder, Hello, Welcome } from '../protocol/messages.ts'
import { createActs } from './acts.ts'
import type { AgentEvent } from './agent-events.ts'
import {
  type AgentState,
  all,
  freeRoom,
  initialState,
  isQuiet,
  renewable,
  reportOf,
} from './agent-state.ts'
import { step } from './attempt.ts'
import type { CallRunDeps } from './call-run.ts'
import { createEffects, type Session } from './effects.ts'
import { untilUp } from './engine.ts'
import { insist } from './insist.ts'
import type { Kept } from './outbox.ts'
import type { Pool } from './pool.ts'
import type { OwnContainer } from './runner/runner.ts'
import type { Room } from './slots.ts'
import { sweep } from './sweep.ts'

export interface AttemptsDeps extends CallRunDeps {
  readonly room: Room
  readonly kept: Kept
  /** It has containers of its own, which no sweep takes. */
  readonly pool: Pick<Pool, 'owns'>
  /** Why no call can be run here at all; '' where they can. */
  readonly unfit: () => string
  /** Runtimes that calls can ask for. */
  readonly runtimes: () => readonly string[]
  /** Called after every change of what an advert tells. */
  readonly onChange: () => void
}

export interface RunningAttempt {
  readonly key: AttemptKey
  readonly container: string
}

export interface Attempts {
  hello(): Pick<Hello, 'attempts' | 'outbox' | 'epochSeen' | 'draining'>
  /** What the next heartbeat renews. */
  renewable(): readonly AttemptKey[]
  /** What is given to calls in all, and what is free of it. */
  room(): Room
  free(): Room
  resize(room: Room): void
  /** Those whose process runs, with their containers. */
  running(): readonly RunningAttempt[]
  /** Ends one that filled the disk; resolves when its container is gone. */
  endOverfilled(key: AttemptKey, signal: AbortSignal): Promise<void>
  isDraining(): boolean
  /** Results that wait for an acknowledgement. */
  unacknowledged(): number
  /** Resolves once the session has begun. Orders that come before that are of no session. */
  connected(welcome: Welcome, session: Session): Promise<void>
  disconnected(): void
  receive(order: CoordinatorOrder): void
  drain(isDraining: boolean): void
  /** Stops what runs; it is handed back as lost. */
  leave(): void
  /** Removes containers that no attempt needs; called every `sweepMs`. */
  sweep(): void
  /** Resolves as soon as the condition holds after an event. */
  until(condition: () => boolean, signal: AbortSignal): Promise<void>
  /** No container is left and every result is written. */
  isQuiet(): boolean
  /** Lets go: containers that run are left to the next process of this agent. */
  close(): Promise<void>
}

export const createAttempts = (deps: AttemptsDeps): Attempts => {
  const { engine, outbox, log } = deps
  const acts = createActs()
  const waiters = new Set<() => void>()
  const events: AgentEvent[] = []
  let isStepping = false
  let state: AgentState = initialState({
    room: deps.room,
    epoch: outbox.epoch(),
    adopted: deps.kept.notes,
    outbox: deps.kept.results,
  })

  /** An event that an effect causes at once waits for the other effects of its step. */
  const dispatch = (event: AgentEvent): void => {
    events.push(event)
    if (isStepping) return
    isStepping = true
    for (let next = events.shift(); next !== undefined; next = events.shift()) {
      const stepped = step(state, next)
      state = stepped.state
      for (const effect of stepped.effects) effects.perform(effect)
    }
    isStepping = false
    effects.forget((name) => !state.attempts.has(name))
    for (const waiter of waiters) waiter()
    deps.onChange()
  }
  const effects = createEffects(deps, acts, dispatch)

  const isNeeded = (container: OwnContainer): boolean =>
    effects.holds(container.id) || deps.pool.owns(container)
  const sweepPast = async (): Promise<void> => {
    const removed = await sweep(deps.runner, isNeeded, acts.signal)
    if (removed > 0) log.info({ removed }, 'containers of the past removed')
  }
  let isSweeping = false
  const sweepOnce = async (): Promise<void> => {
    if (isSweeping) return
    isSweeping = true
    const { signal } = acts
    const ready = (): Promise<void> => untilUp(engine, signal)
    await insist({ what: 'containers could not be swept', log, signal, ready }, sweepPast)
    isSweeping = false
  }
  const onEngine = (isUp: boolean): void => {
    if (isUp) acts.start(sweepOnce())
  }

  const unfit = (order: CoordinatorOrder): string => {
    if (order.type !== 'assign') return ''
    if (!engine.isUp()) return 'the Docker engine does not answer'
    if (deps.unfit() !== '') return deps.unfit()
    const { runtime } = order.assignment
    const isThere = runtime === '' || deps.runtimes().includes(runtime)
    return isThere ? '' : `this agent does not offer the runtime ${runtime}`
  }

  const forgetEngine = engine.onChange(onEngine)
  onEngine(engine.isUp())
  for (const row of deps.kept.damaged) log.error({ row }, 'stored row is damaged')
  for (const note of deps.kept.notes) effects.resume(note)

  const until: Attempts['until'] = (condition, signal) =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!condition() && !signal.aborted) return
        waiters.delete(look)
        signal.removeEventListener('abort', look)
        if (condition()) resolve()
        else reject(signal.reason)
      }
      waiters.add(look)
      signal.addEventListener('abort', look)
      look()
    })

  return {
    hello: () => ({ ...reportOf(state), epochSeen: state.epoch, draining: state.draining }),
    renewable: () => renewable(state),
    room: () => state.room,
    free: () => freeRoom(state),
    running: () =>
      all(state).flatMap(({ key, phase }) => {
        const container = effects.containerOf(key)
        return phase === 'running' && container !== null ? [{ key, container }] : []
      }),
    async endOverfilled(key, signal) {
      dispatch({ type: 'overfilled', key })
      const name = attemptName(key)
      await until(() => state.attempts.get(name)?.isRemoved !== false, signal)
    },
    resize: (room) => dispatch({ type: 'resized', room }),
    isDraining: () => state.draining || state.isDrained,
    isQuiet: () => isQuiet(state),
    unacknowledged: () => reportOf(state).outbox.length,
    async connected(welcome, session) {
      const { epoch } = welcome
      // Before it is obeyed: after a crash we would take orders of the coordinator that it replaced.
      if (epoch > outbox.epoch()) {
        const what = 'epoch could not be written'
        await insist({ what, log, signal: acts.signal }, () => outbox.raiseEpoch(epoch))
      }
      effects.setSession(session)
      dispatch({ ...welcome, type: 'welcomed' })
    },
    disconnected() {
      effects.setSession(null)
      dispatch({ type: 'disconnected' })
    },
    receive: (order) => dispatch({ type: 'order', order, unfit: unfit(order) }),
    drain: (draining) => dispatch({ type: 'drain', draining }),
    leave: () => dispatch({ type: 'leave' }),
    sweep: () => onEngine(engine.isUp()),
    until,
    async close() {
      forgetEngine()
      effects.setSession(null)
      const closed = acts.close()
      effects.abandon()
      await closed
    },
  }
}
