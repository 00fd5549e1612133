/** The way in: what is refused, and which inputs stay at hand until their calls run. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import { createIntake } from '../../coordinator/intake.ts'
import type { Effect, LedgerEvent } from '../../coordinator/ledger/state.ts'
import { addAccount, createLedger, step } from '../../coordinator/ledger/step.ts'
import { encodeInput } from '../../coordinator/rows.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Assignment } from '../../protocol/messages.ts'
import { eventually } from '../support/eventually.ts'
import { storedFunc } from '../support/fake-ports.ts'
import { makeHello, makeTerms } from '../support/ledger-words.ts'

const NOW = { ms: 0, wall: '2017-03-16T07:05:24.473Z' }

const createWayIn = (quota: number) => {
  const ledger = createLedger(1, 0)
  const account = addAccount(ledger, 'a1', quota)
  const stored = { ...storedFunc(), accountId: 'a1' }
  const terms = makeTerms({ funcId: stored.id })
  const sent: Assignment[] = []
  let reads = 0
  const assign = (effect: Effect): void => {
    if (effect.type !== 'assign') return
    intake.assign(effect.agentId, effect.key, effect.terms, effect.seq)
  }
  const apply = (event: LedgerEvent): void => step(ledger, event, NOW).forEach(assign)
  const intake = createIntake({
    ...{ ledger, apply, isStopping: () => false, newCallId: randomUUID },
    store: {
      async body() {
        reads += 1
        return encodeInput({ payload: new Uint8Array(3), environment: [] })
      },
    },
    termsOf: () => terms,
    byId: () => stored,
    revision: () => stored,
    sendAssignment: (_agentId, assignment) => void sent.push(assignment),
  })
  return {
    ...{ account, apply, sent, reads: () => reads },
    accept(bytes = 3, isSync = false): string {
      const request = { stored, payload: new Uint8Array(bytes), environment: ['A=1'], note: '' }
      return intake.accept(request, isSync)
    },
    connect(slots: number): void {
      const hello = makeHello({ slots, memoryBytes: 1e12 })
      apply({ type: 'connect', agentId: 'one', name: 'one', session: 1, hello })
    },
  }
}

const isFull = (error: unknown): boolean =>
  error instanceof HyperError && error.code === 'QUEUE_FULL'

describe('intake', () => {
  test('assigns from memory what runs at once, without asking the store', () => {
    const way = createWayIn(1)
    way.connect(1)
    way.accept(3, true)
    assert.equal(way.sent.length, 1)
    assert.equal(way.reads(), 0)
  })

  test('keeps the inputs that run soonest at hand, and reads those of a backlog', async () => {
    const way = createWayIn(10_000)
    const ids = Array.from({ length: limits.inputsAheadMax + 5 }, () => way.accept())
    way.connect(ids.length)
    await eventually(() => way.sent.length === ids.length)
    assert.equal(way.reads(), 5)
    const first = way.sent.slice(0, limits.inputsAheadMax).map(({ key }) => key.call)
    assert.deepEqual(first, ids.slice(0, limits.inputsAheadMax))
  })

  test('refuses a payload beyond what live calls may hold, those that run included', () => {
    const way = createWayIn(1)
    way.connect(1)
    way.accept(3)
    assert.equal(way.account.waiting, 0)
    way.account.payloadBytes += limits.livePayloadBytesMax - 4
    way.accept(1)
    assert.throws(() => way.accept(1), isFull)
  })
})
