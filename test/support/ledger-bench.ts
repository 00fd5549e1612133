/** A ledger on the bench: two accounts, a clock by hand, and words for what tests do to it. */

import assert from 'node:assert/strict'
import type { Call, Effect, Lease, LedgerEvent, Terms } from '../../coordinator/ledger/state.ts'
import { addAccount, createLedger, step } from '../../coordinator/ledger/step.ts'
import { type AttemptKey, type AttemptResult, attemptName } from '../../protocol/call.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import type { Hello } from '../../protocol/messages.ts'
import { checkBooks } from './ledger-invariants.ts'
import { makeHello, makeResult, makeTerms } from './ledger-words.ts'

export const EPOCH = 7
const TICK_MS = 1_000

export const createBench = (quota = 10) => {
  const ledger = createLedger(EPOCH, 0)
  addAccount(ledger, 'a1', quota)
  addAccount(ledger, 'a2', quota)
  let nowMs = 0
  let lastCall = 0
  let lastSession = 0

  const apply = (event: LedgerEvent): Effect[] => {
    const effects = step(ledger, event, { ms: nowMs, wall: '2017-03-16T07:05:24.473Z' })
    checkBooks(ledger)
    return effects
  }
  const leaseOf = (call: Call): Lease | undefined =>
    [...ledger.leases.values()].find((lease) => lease.key.call === call.id)
  /** The attempt that holds the call's lease. */
  const keyOf = (call: Call): AttemptKey => {
    const lease = leaseOf(call)
    assert.ok(lease !== undefined, 'the call holds a lease')
    return lease.key
  }
  const said = (agentId: string, call: Call) => ({ agentId, key: keyOf(call) })

  return {
    ledger,
    apply,
    leaseOf,
    keyOf,
    accept(over: Partial<Terms> = {}, sync = false): Call {
      lastCall += 1
      const id = `00000000-0000-4000-8000-${lastCall.toString().padStart(12, '0')}`
      const rest = { payload: new Uint8Array(10), environment: [], note: '' }
      const event = { type: 'accept', id, terms: makeTerms(over), sync, ...rest } as const
      apply(event)
      const call = ledger.calls.get(id)
      assert.ok(call !== undefined)
      return call
    },
    /** Connects an agent; what it is told of each attempt, by name. */
    connect(agentId: string, over: Partial<Hello> = {}): Map<string, string> {
      lastSession += 1
      const hello = makeHello(over)
      const session = lastSession
      const effects = apply({ type: 'connect', agentId, name: agentId, session, hello })
      const welcome = effects.find((effect) => effect.type === 'welcome')
      assert.ok(welcome?.type === 'welcome')
      return new Map(welcome.verdicts.map(({ key, verdict }) => [attemptName(key), verdict]))
    },
    disconnect: (agentId: string): Effect[] =>
      apply({
        type: 'disconnect',
        agentId,
        session: ledger.agents.get(agentId)?.session ?? 0,
      }),
    start: (agentId: string, call: Call): Effect[] =>
      apply({ type: 'started', ...said(agentId, call) }),
    refuse: (agentId: string, call: Call): Effect[] =>
      apply({ type: 'refused', ...said(agentId, call), message: 'no room' }),
    heartbeat: (agentId: string, keys: readonly AttemptKey[]): Effect[] =>
      apply({ type: 'heartbeat', agentId, keys }),
    end: (
      agentId: string,
      key: AttemptKey,
      code: ErrorCode = 'FINISHED',
      over: Partial<AttemptResult> = {},
    ): Effect[] => apply({ type: 'result', agentId, key, result: makeResult(key, code, over) }),
    cancel: (call: Call): Effect[] => apply({ type: 'cancel', callId: call.id }),
    quota: (accountId: string, to: number): Effect[] =>
      apply({ type: 'quota', accountId, quota: to }),
    /**
     * Time passes while the coordinator looks at its clocks. Agents that are here are heard of, but
     * renew nothing, unless all are silent.
     */
    pass(ms: number, isSilent = false): Effect[] {
      const effects: Effect[] = []
      for (const endMs = nowMs + ms; nowMs < endMs; ) {
        nowMs = Math.min(nowMs + TICK_MS, endMs)
        if (!isSilent) for (const agent of ledger.agents.values()) agent.heardMs = nowMs
        effects.push(...apply({ type: 'tick' }))
      }
      return effects
    },
    /** The coordinator itself is away for so long. */
    away(ms: number): Effect[] {
      nowMs += ms
      return apply({ type: 'tick' })
    },
  }
}

/** How a call ended, if it ended among these effects. */
export const outcomeIn = (effects: readonly Effect[], call: Call) => {
  const final = effects.find((effect) => effect.type === 'final' && effect.callId === call.id)
  return final?.type === 'final' ? final.outcome : undefined
}

/** Orders of one kind that the effects send, as `agent attempt`. */
export const ordersIn = (
  effects: readonly Effect[],
  type: 'cancel' | 'acknowledge',
): (readonly [string, AttemptKey])[] =>
  effects.flatMap((effect) =>
    effect.type === 'send' && effect.order.type === type
      ? [[effect.agentId, effect.order.key] as const]
      : [],
  )
