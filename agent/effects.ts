/**
 * Performs the effects of attempt.ts and tells, as events, what came of them: runs calls, writes
 * and sends results, removes containers. Holds what lives only while an attempt does: how to stop
 * it, its container's id, its result until that is written.
 */

import { assertNever } from '../protocol/assert.ts'
import { type AttemptKey, type AttemptResult, attemptName } from '../protocol/call.ts'
import type { AgentMessage, Assignment, CoordinatorOrder } from '../protocol/messages.ts'
import type { Acts } from './acts.ts'
import type { AgentEffect, AgentEvent } from './attempt.ts'
import { type CallRunDeps, performCall } from './call-run.ts'
import { notStarted } from './classify.ts'
import type { Note } from './outbox.ts'
import { adopt } from './recovery.ts'

/** The way to the coordinator while a session lasts. */
export interface Session {
  readonly send: (message: AgentMessage) => Promise<void>
  /** The coordinator is not to be obeyed. */
  readonly disconnect: () => void
  readonly pull: (order: Extract<CoordinatorOrder, { type: 'pull' }>) => void
}

export interface Effects {
  perform(effect: AgentEffect): void
  /** Waits for a container that an earlier process left. */
  resume(note: Note): void
  setSession(session: Session | null): void
  /** The attempt is over: nothing of it is held any longer. */
  forget(isOver: (attempt: string) => boolean): void
  /** Lets go of everything that runs, without ending it. */
  abandon(): void
}

interface Live {
  readonly stop: AbortController
  container: string | null
  /** Kept only until it is written. */
  result: AttemptResult | null
}

export const createEffects = (
  deps: CallRunDeps,
  acts: Acts,
  dispatch: (event: AgentEvent) => void,
): Effects => {
  const { outbox, runner, log } = deps
  const live = new Map<string, Live>()
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

  /** After `abandon` the container and its note are the next process's. */
  const ended = (key: AttemptKey, result: AttemptResult | null): void => {
    if (!acts.signal.aborted) dispatch({ type: 'ended', key, result })
  }

  const run = async (assignment: Assignment): Promise<void> => {
    const { key, func, payload } = assignment
    const held = liveOf(key)
    const result = await performCall(deps, {
      assignment,
      stop: held.stop.signal,
      onContainer: (id) => {
        held.container = id
      },
      onRunning: () => dispatch({ type: 'started', key }),
    })
    const { code = 'CALL_CANCELLED', startMs, runMs, exitCode, message, stdout } = result ?? {}
    const bytes = { bytesIn: payload.byteLength, bytesOut: stdout?.byteLength }
    const { call, attempt } = key
    const line = { call, attempt, func: func.name, code, exitCode, message, startMs, runMs }
    log.info({ ...line, ...bytes }, 'call ended')
    ended(key, result)
  }

  const resume = async (note: Note): Promise<void> => {
    const held = liveOf(note.key)
    held.container = note.container === '' ? null : note.container
    const result = await adopt(deps, note, held.stop.signal)
    const { call, attempt } = note.key
    log.info({ call, attempt, code: result?.code ?? 'CALL_CANCELLED' }, 'call recovered')
    ended(note.key, result)
  }

  const write = async (key: AttemptKey, result: AttemptResult): Promise<void> => {
    const held = liveOf(key)
    held.result = result
    await acts.insist('result could not be written', () => outbox.putResult(key, result))
    held.result = null
    dispatch({ type: 'written', key })
  }

  const remove = async (key: AttemptKey): Promise<void> => {
    const { container } = liveOf(key)
    if (container !== null) {
      const act = (): Promise<void> => runner.remove(container, acts.signal)
      await acts.insist('container could not be removed', act)
    }
    dispatch({ type: 'removed', key })
  }

  const resultOf = async (key: AttemptKey): Promise<AttemptResult | null> => {
    try {
      return live.get(attemptName(key))?.result ?? (await outbox.getResult(key))
    } catch (error) {
      log.error({ err: error, call: key.call }, 'stored result cannot be read')
      const lost = notStarted('AGENT_LOST', 'its result was damaged on the agent’s disk', 0)
      return { ...lost, started: true }
    }
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
        acts.start(remove(effect.key))
        break
      case 'delete':
        acts.start(outbox.delete(effect.key))
        break
      case 'send':
        acts.start(send(session, effect.message))
        break
      case 'pull':
        session?.pull(effect.order)
        break
      case 'raiseEpoch':
        acts.start(acts.insist('epoch not written', () => outbox.raiseEpoch(effect.epoch)))
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
    forget: (isOver) => {
      for (const name of live.keys()) if (isOver(name)) live.delete(name)
    },
    abandon: () => {
      for (const { stop } of live.values()) stop.abort('leaving')
    },
  }
}
