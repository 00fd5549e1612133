/**
 * The agent's step function without I/O: does what effects ask for when the test says so, and checks
 * every one of them.
 */

import assert from 'node:assert/strict'
import type { AgentEffect, AgentEvent } from '../../agent/agent-events.ts'
import {
  type AgentState,
  freeRoom,
  initialState,
  renewable,
  reportOf,
} from '../../agent/agent-state.ts'
import { step } from '../../agent/attempt.ts'
import { notStarted } from '../../agent/classify.ts'
import { type AttemptKey, type AttemptResult, attemptName } from '../../protocol/call.ts'
import type { Assignment, Verdict } from '../../protocol/messages.ts'

export const room = { slots: 2, memoryBytes: 300 }
export const result = { ...notStarted('FINISHED', '', 0), started: true }
export const keyOf = (number: number): AttemptKey => ({
  call: `00000000-0000-4000-8000-${number.toString().padStart(12, '0')}`,
  attempt: 1,
  epoch: 1,
})
export const assignmentOf = (number: number): Assignment => ({
  key: keyOf(number),
  func: { id: 'f', name: 'f', revision: 1 },
  image: { reference: 'a', digest: null, id: 'b' },
  ...{ entrypoint: null, cmd: null, environment: [], workingDir: '', user: '', stopSignal: '' },
  ...{ network: 'none', runtime: '', profile: 'default', memoryBytes: 100, cpus: 1 },
  ...{ timeoutMs: 0, atMostOnce: false, payload: new Uint8Array(0) },
})

const resultAfter = (reason: string | undefined): AttemptResult | null => {
  if (reason === 'cancel') return null
  return reason === 'disk' ? { ...result, code: 'CALL_DISK_FULL' } : result
}

export const createModel = () => {
  let state: AgentState = initialState({ room, epoch: 0, adopted: [], outbox: [] })
  let session = 0
  const assigned = new Set<string>()
  const runs = new Set<string>()
  const stopped = new Map<string, string>()
  const written = new Set<string>()
  const acknowledged = new Set<string>()
  const answered = new Map<string, string>()
  const withResult = new Set<string>()
  const pending: { kind: 'run' | 'write' | 'remove'; key: AttemptKey; running: boolean }[] = []

  const check = (effect: AgentEffect): void => {
    const key = 'key' in effect ? effect.key : undefined
    const name = key === undefined ? '' : attemptName(key)
    switch (effect.type) {
      case 'run': {
        const own = attemptName(effect.assignment.key)
        assert.ok(!runs.has(own), 'a second container for one key')
        runs.add(own)
        pending.push({ kind: 'run', key: effect.assignment.key, running: false })
        break
      }
      case 'stop':
        // The first reason stays, as an aborted signal's does.
        if (!stopped.has(name)) stopped.set(name, effect.reason)
        break
      case 'write':
        withResult.add(name)
        pending.push({ kind: 'write', key: effect.key, running: false })
        break
      case 'remove':
        assert.ok(
          !withResult.has(name) || written.has(name) || stopped.get(name) === 'disk',
          'removed before the outbox had it',
        )
        pending.push({ kind: 'remove', key: effect.key, running: false })
        break
      case 'delete':
        assert.ok(
          !withResult.has(name) || (written.has(name) && acknowledged.has(name)),
          'deleted before it was acknowledged',
        )
        break
      case 'report':
        assert.equal(effect.session, session)
        answered.set(name, 'result')
        break
      case 'send':
        assert.equal(effect.message.session, session)
        if (effect.message.type === 'gone' || effect.message.type === 'refused') {
          answered.set(attemptName(effect.message.key), effect.message.type)
        }
        break
      default:
    }
  }

  const dispatch = (event: AgentEvent): void => {
    const next = step(state, event)
    state = next.state
    for (const effect of next.effects) check(effect)
    const free = freeRoom(state)
    assert.ok(free.slots >= 0 && free.memoryBytes >= 0)
    assert.ok(renewable(state).length <= room.slots)
  }

  const welcome = (): void => {
    const hello = reportOf(state)
    const verdicts: Verdict[] = [
      ...hello.attempts.map(({ key }) => ({ key, verdict: 'keep' as const })),
      ...hello.outbox.map((key) => ({ key, verdict: 'commit' as const })),
    ]
    session += 1
    dispatch({ type: 'welcomed', session, epoch: 1, verdicts })
  }

  /** The pending act at `at` comes to its next stage. */
  const advance = (at: number): void => {
    const act = pending[at % Math.max(1, pending.length)]
    if (act === undefined) return
    const { key } = act
    if (act.kind === 'run' && !act.running && !stopped.has(attemptName(key))) {
      act.running = true
      dispatch({ type: 'started', key })
      return
    }
    pending.splice(pending.indexOf(act), 1)
    if (act.kind === 'run') {
      dispatch({ type: 'ended', key, result: resultAfter(stopped.get(attemptName(key))) })
    } else if (act.kind === 'write') {
      written.add(attemptName(key))
      dispatch({ type: 'written', key })
    } else {
      dispatch({ type: 'removed', key })
    }
  }

  return {
    ...{ dispatch, welcome, advance, assigned, answered, runs, pending, acknowledged },
    state: () => state,
    order: (order: object): void =>
      dispatch({ type: 'order', order: { session, epoch: 1, ...order } as never, unfit: '' }),
    /** A coordinator may repeat itself, and even name an attempt again that is over. */
    assign(number: number): void {
      const name = attemptName(keyOf(number))
      if (state.session !== null) assigned.add(name)
      this.order({ type: 'assign', assignment: assignmentOf(number) })
    },
    acknowledge(number: number): void {
      const name = attemptName(keyOf(number))
      // A coordinator acknowledges only what it heard of.
      if (answered.get(name) !== 'result' || state.session === null) return
      acknowledged.add(name)
      this.order({ type: 'acknowledge', key: keyOf(number) })
    },
  }
}
export type Model = ReturnType<typeof createModel>
