/**
 * Performs the effects of attempt.ts and tells, as events, what came of them: runs calls, writes
 * and sends results, removes containers. Holds what lives only while an attempt does: how to stop
 * it, its container's id, its result until that is written.
 */

import { assertNever } from '../protocol/assert.ts'
import { type AttemptKey, type AttemptResult, attemptName } from '../protocol/call.ts'
import { messageOf, toHyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { AgentMessage, Assignment, Preparation } from '../protocol/messages.ts'
import type { Acts } from './acts.ts'
import type { AgentEffect, AgentEvent } from './agent-events.ts'
import { createAuthRequests } from './auth-requests.ts'
import { type CallRunDeps, performCall } from './call-run.ts'
import { lostResult } from './classify.ts'
import { untilUp } from './engine.ts'
import { insist } from './insist.ts'
import type { Note } from './outbox.ts'
import type { PullOrders } from './pull-orders.ts'
import { adopt } from './recovery.ts'
import type { RunningContainer } from './runner/runner.ts'
import { settledResult } from './settled-result.ts'
import { createTurns } from './turns.ts'

/** The way to the coordinator while a session lasts. */
export interface Session {
  readonly send: (message: AgentMessage) => Promise<void>
  /** The coordinator is not to be obeyed. */
  readonly disconnect: () => void
  readonly pulls: Pick<PullOrders, 'start' | 'cancel'>
}

export interface Effects {
  perform(effect: AgentEffect): void
  /** Waits for a container that an earlier process left. */
  resume(note: Note): void
  setSession(session: Session | null): void
  /** Null: it has none, or not yet. */
  containerOf(key: AttemptKey): string | null
  /** Whether it is the container of an attempt that may still need it. */
  holds(container: string): boolean
  /** The attempt is over: nothing of it is held any longer. */
  forget(isOver: (attempt: string) => boolean): void
  /** Lets go of everything that runs, without ending it. */
  abandon(): void
}

/** Of one that an earlier process started only the id is known. */
type Held = Pick<RunningContainer, 'id'> & Partial<RunningContainer>

interface Live {
  readonly stop: AbortController
  /** Until it is removed. */
  container: Held | null
  /** Kept only until it is written. */
  result: AttemptResult | null
}

const tenths = (ms: number): number => Math.round(ms * 10) / 10

/** What the log tells of a call that ended, in the words of the coordinator's own line. */
const summaryOf = ({ call, attempt }: AttemptKey, result: AttemptResult | null) => ({
  ...{ call, attempt },
  reason: result?.code ?? 'CALL_CANCELLED',
  exit: result?.exitCode ?? null,
  message: result?.message ?? '',
  startMs: tenths(result?.startMs ?? 0),
  runMs: tenths(result?.runMs ?? 0),
  bytesOut: result?.stdout.byteLength ?? 0,
})

export const createEffects = (
  deps: CallRunDeps,
  acts: Acts,
  dispatch: (event: AgentEvent) => void,
): Effects => {
  const { outbox, runner, engine, log, lull } = deps
  const { signal } = acts
  const live = new Map<string, Live>()
  const removals = createTurns(limits.removalsMax)
  const auths = createAuthRequests((key) => dispatch({ type: 'wantAuth', key }))
  let session: Session | null = null
  let reporting: Promise<void> = Promise.resolve()

  const liveOf = (key: AttemptKey): Live => {
    const name = attemptName(key)
    const present = live.get(name)
    if (present !== undefined) return present
    const made: Live = { stop: new AbortController(), container: null, result: null }
    live.set(name, made)
    return made
  }

  const ended = (key: AttemptKey, told: AttemptResult | null, more: object): void => {
    // After `abandon` the container and its note are the next process's.
    if (signal.aborted) return
    lull.touch()
    const result = told === null ? null : settledResult(told)
    dispatch({ type: 'ended', key, result })
    log.info({ ...summaryOf(key, result), ...more }, 'call ended')
  }

  const run = async (assignment: Assignment): Promise<void> => {
    const { key, func, payload } = assignment
    const attempt = liveOf(key)
    const result = await performCall(deps, {
      assignment,
      stop: attempt.stop.signal,
      closing: signal,
      askAuth: (over) => auths.ask(key, over),
      onContainer: (container) => {
        attempt.container = container
      },
      onRunning: () => dispatch({ type: 'started', key }),
    })
    ended(key, result, { func: func.name, bytesIn: payload.byteLength })
  }

  const resume = async (note: Note): Promise<void> => {
    const attempt = liveOf(note.key)
    if (note.container !== '') attempt.container = { id: note.container }
    const result = await adopt(deps, note, { stop: attempt.stop.signal, closing: signal })
    ended(note.key, result, { isRecovered: true })
  }

  const write = async (key: AttemptKey, result: AttemptResult): Promise<void> => {
    const attempt = liveOf(key)
    attempt.result = result
    const what = 'result could not be written'
    await insist({ what, log, signal }, () => outbox.putResult(key, result))
    attempt.result = null
    dispatch({ type: 'written', key })
  }

  const remove = async (key: AttemptKey, isBusy: boolean): Promise<void> => {
    const attempt = liveOf(key)
    const { container } = attempt
    if (container !== null) {
      if (!isBusy) await lull.wait(signal)
      const what = 'container could not be removed'
      const ready = (): Promise<void> => untilUp(engine, signal)
      await insist({ what, log, signal, ready }, () =>
        removals.run(signal, async () => {
          await container.release?.()
          await runner.remove(container.id, signal)
        }),
      )
      attempt.container = null
    }
    dispatch({ type: 'removed', key })
  }

  /** A kindness to the first call: without it that one only waits longer. */
  const prepare = (preparation: Preparation): Promise<void> =>
    deps.supply.prepare(preparation, signal).catch((error: unknown) => {
      log.debug({ reason: messageOf(error) }, 'no container made ready')
    })

  const erase = (key: AttemptKey): Promise<void> =>
    insist({ what: 'entry could not be deleted', log, signal }, () => outbox.delete(key))

  /** Only a rotten one is lost: whatever else keeps it from being read passes. */
  const readResult = async (key: AttemptKey): Promise<AttemptResult | null> => {
    try {
      return await outbox.getResult(key)
    } catch (error) {
      if (toHyperError(error).code !== 'STATE_DAMAGED') throw error
      log.error({ err: error, call: key.call }, 'stored result is damaged')
      return lostResult('its result was damaged on the agent’s disk')
    }
  }

  const resultOf = async (key: AttemptKey): Promise<AttemptResult | null> => {
    const what = 'stored result could not be read'
    const unwritten = live.get(attemptName(key))?.result ?? null
    return unwritten ?? insist({ what, log, signal }, () => readResult(key))
  }

  /** A channel that refuses a message has ended; its end is told to the connection. */
  const send = async (to: Session | null, message: AgentMessage): Promise<void> => {
    await to?.send(message).catch(() => undefined)
  }

  /** One at a time, so that a long outbox is never in memory as a whole. */
  const report = async (key: AttemptKey, number: number, to: Session | null): Promise<void> => {
    if (session !== to) return
    const result = await resultOf(key)
    if (result !== null) await send(to, { type: 'result', session: number, key, result })
  }

  const perform = (effect: AgentEffect): void => {
    switch (effect.type) {
      case 'run':
        acts.start(run(effect.assignment))
        break
      case 'stop':
        liveOf(effect.key).stop.abort(effect.reason)
        break
      case 'write':
        acts.start(write(effect.key, effect.result))
        break
      case 'report': {
        const to = session
        reporting = reporting.then(() => report(effect.key, effect.session, to))
        acts.start(reporting)
        break
      }
      case 'remove':
        acts.start(remove(effect.key, effect.isBusy))
        break
      case 'delete':
        acts.start(erase(effect.key))
        break
      case 'send':
        acts.start(send(session, effect.message))
        break
      case 'prepare':
        acts.start(prepare(effect.preparation))
        break
      case 'pull':
        session?.pulls.start(effect.order)
        break
      case 'cancelPull':
        session?.pulls.cancel(effect.pull)
        break
      case 'giveAuth':
        auths.answer(effect.key, effect.auth)
        break
      case 'disconnect':
        session?.disconnect()
        break
      default:
        assertNever(effect)
    }
  }

  return {
    perform,
    resume: (note) => acts.start(resume(note)),
    setSession: (to) => {
      session = to
    },
    containerOf: (key) => live.get(attemptName(key))?.container?.id ?? null,
    holds: (container) => [...live.values()].some((attempt) => attempt.container?.id === container),
    forget: (isOver) => {
      for (const name of live.keys()) if (isOver(name)) live.delete(name)
    },
    abandon: () => {
      for (const { stop, container } of live.values()) {
        stop.abort('leaving')
        container?.detach?.()
      }
    },
  }
}
