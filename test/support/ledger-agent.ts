/**
 * A model of an agent, as small as the protocol allows: the attempts it holds, its outbox, its
 * store. What it says waits in `said` until the simulation hands it over; a cut loses that.
 */

import type { LedgerEvent, Order } from '../../coordinator/ledger/state.ts'
import type { AttemptKey, AttemptResult } from '../../protocol/call.ts'
import { attemptName } from '../../protocol/call.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import type { Hello, Verdict } from '../../protocol/messages.ts'
import { MiB, makeHello, makeResult, type Random } from './ledger-words.ts'

interface Held {
  readonly key: AttemptKey
  phase: 'starting' | 'running' | 'dying'
  /** What it will be found to have ended with: it has ended before, but that was not written. */
  readonly result?: AttemptResult
}

/** Reported while it is being written. */
interface Kept {
  readonly key: AttemptKey
  readonly result: AttemptResult
  isWritten: boolean
}

type Heard =
  | { readonly type: 'assign'; readonly key: AttemptKey }
  | { readonly type: 'welcome'; readonly verdicts: readonly Verdict[] }
  | { readonly type: 'order'; readonly order: Order }

/** As they come from agents; the first one ends most attempts. */
const CODES: readonly ErrorCode[] = [
  ...(['FINISHED', 'FINISHED', 'FINISHED', 'CALL_EXITED', 'CALL_SIGNALLED'] as const),
  ...(['CALL_OUT_OF_MEMORY', 'CALL_TIMED_OUT', 'OUTPUT_TOO_LARGE', 'AGENT_LOST'] as const),
]
const UNSTARTED: readonly ErrorCode[] = ['START_FAILED', 'PULL_FAILED', 'AGENT_LOST']

const createModelAgent = (id: string, slots: number, memoryBytes: number) => {
  const held = new Map<string, Held>()
  const outbox = new Map<string, Kept>()
  let store = 1
  let isDraining = false
  let session = 0
  let said: LedgerEvent[] = []
  let heard: Heard[] = []
  /** Attempts that began their process here: what at-most-once is judged by. */
  const startedNames: string[] = []

  const say = (event: LedgerEvent): void => {
    if (session !== 0) said.push(event)
  }
  const cancel = (key: AttemptKey): void => {
    const attempt = held.get(attemptName(key))
    if (attempt === undefined) say({ type: 'gone', agentId: id, key })
    else attempt.phase = 'dying'
  }
  const report = (): void => {
    for (const { key, result } of outbox.values()) {
      say({ type: 'result', agentId: id, key, result })
    }
  }
  const welcome = (verdicts: readonly Verdict[]): void => {
    for (const { key, verdict } of verdicts) {
      if (verdict === 'drop') outbox.delete(attemptName(key))
      if (verdict === 'cancel' || (verdict === 'drop' && held.has(attemptName(key)))) cancel(key)
    }
    report()
  }
  const take = (key: AttemptKey): void => {
    if (held.has(attemptName(key))) return
    if (isDraining || held.size >= slots) {
      say({ type: 'refused', agentId: id, key, message: 'no room' })
    } else held.set(attemptName(key), { key, phase: 'starting' })
  }

  return {
    id,
    held,
    outbox,
    startedNames,
    isConnected: () => session !== 0,
    hasWords: () => said.length > 0 || heard.length > 0,
    hear: (message: Heard): void => void heard.push(message),
    /** Takes what has come, in order. */
    listen(): void {
      for (const message of heard.splice(0)) {
        if (message.type === 'assign') take(message.key)
        else if (message.type === 'welcome') welcome(message.verdicts)
        else if (message.order.type === 'cancel') cancel(message.order.key)
        else if (message.order.type === 'acknowledge') {
          outbox.delete(attemptName(message.order.key))
        }
      }
    },
    /** The next word to the coordinator, if there is one. */
    speak: (): LedgerEvent | undefined => said.shift(),
    heartbeat: (): void =>
      say({ type: 'heartbeat', agentId: id, keys: [...held.values()].map(({ key }) => key) }),
    connect(number: number): LedgerEvent {
      session = number
      said = []
      heard = []
      const hello: Hello = makeHello({
        storeId: `${id}-${store}`,
        slots,
        memoryBytes,
        labels: { name: id },
        draining: isDraining,
        attempts: [...held.values()].map(({ key, phase }) => ({
          key,
          running: phase === 'running',
        })),
        outbox: [...outbox.values()].map(({ key }) => key),
      })
      return { type: 'connect', agentId: id, name: id, session, hello }
    },
    cut(): LedgerEvent {
      const event = { type: 'disconnect', agentId: id, session } as const
      session = 0
      said = []
      heard = []
      return event
    },
    /** The process was killed: what it has noted it finds again, unless its store is lost, too. */
    crash(isStoreLost: boolean): void {
      for (const [name, attempt] of held) {
        if (attempt.phase === 'starting' || isStoreLost) held.delete(name)
        else attempt.phase = 'running'
      }
      for (const [name, { key, result, isWritten }] of outbox) {
        if (isWritten) continue
        outbox.delete(name)
        if (!isStoreLost) held.set(name, { key, phase: 'running', result })
      }
      if (!isStoreLost) return
      outbox.clear()
      store += 1
    },
    drain(draining: boolean): void {
      isDraining = draining
      say({ type: 'draining', agentId: id, draining })
    },
    /** Some attempt goes on by one phase. */
    act(random: Random, isHealthy: boolean): void {
      for (const kept of outbox.values()) kept.isWritten ||= isHealthy || random.once(2)
      const attempt = random.pick([...held.values()])
      if (attempt === undefined) return
      const { key } = attempt
      if (attempt.phase === 'dying') {
        held.delete(attemptName(key))
        say({ type: 'gone', agentId: id, key })
        return
      }
      if (attempt.phase === 'starting' && (isHealthy || !random.once(6))) {
        attempt.phase = 'running'
        startedNames.push(attemptName(key))
        say({ type: 'started', agentId: id, key })
        return
      }
      const started = attempt.phase === 'running'
      const code = isHealthy ? 'FINISHED' : random.pick(started ? CODES : UNSTARTED)
      const result = attempt.result ?? makeResult(key, code, { started })
      held.delete(attemptName(key))
      outbox.set(attemptName(key), { key, result, isWritten: false })
      say({ type: 'result', agentId: id, key, result })
    },
  }
}

export type ModelAgent = ReturnType<typeof createModelAgent>

export const createModelAgents = (): ModelAgent[] => [
  createModelAgent('agent-1', 2, 256 * MiB),
  createModelAgent('agent-2', 3, 128 * MiB),
  createModelAgent('agent-3', 1, 512 * MiB),
]
