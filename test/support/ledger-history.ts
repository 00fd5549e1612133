/**
 * The history of a simulated run, and the checker over it: one final state of each call that was
 * accepted, first leases in order, quota and room at every grant, results only from attempts that
 * were granted, no body lost and none mixed up.
 */

import assert from 'node:assert/strict'
import type { Ledger, LedgerEvent, Terms } from '../../coordinator/ledger/state.ts'
import { parseHistoryRow } from '../../coordinator/rows.ts'
import type { Operation } from '../../coordinator/store.ts'
import { attemptName, type Outcome } from '../../protocol/call.ts'
import { outputOf } from './ledger-words.ts'

const text = new TextDecoder()

export const createHistory = () => {
  const sent = new Map<string, { readonly terms: Terms; readonly isSync: boolean }>()
  const acceptances = new Set<string>()
  /** Attempt and agent of every lease that was ever decided. */
  const grants = new Set<string>()
  const finals = new Map<string, Outcome>()
  /** Whose history row a key is. */
  const rows = new Map<string, string>()
  /** Calls whose body was written, or handed to its client. */
  const bodies = new Map<string, string>()

  const checkGrant = (ledger: Ledger, name: string): void => {
    const lease = ledger.leases.get(name)
    // Decided and ended in one transition: the books were checked at its assertion.
    if (lease === undefined) return
    grants.add(`${name} ${lease.agentId}`)
    const account = ledger.accounts.get(lease.terms.accountId)
    const agent = ledger.agents.get(lease.agentId)
    assert.ok(account !== undefined && agent !== undefined)
    assert.ok(account.leases <= account.quota, 'no lease beyond the quota')
    assert.ok(agent.slotsUsed <= agent.hello.slots, 'no lease beyond the slots')
    assert.ok(agent.memoryUsedBytes <= agent.hello.memoryBytes, 'no lease beyond the memory')
    assert.notEqual(agent.session, 0, 'no lease to who is away')
    const granted = ledger.calls.get(lease.key.call)
    assert.ok(granted !== undefined)
    for (const call of ledger.calls.values()) {
      const isPassed =
        call.terms.accountId === account.id && call.state === 'queued' && call.seq < granted.seq
      assert.ok(!isPassed, 'calls are leased in the order in which they were accepted')
    }
  }

  const checkSource = (event: LedgerEvent, callId: string, attempt: number): void => {
    if (event.type !== 'result' || event.key.call !== callId) return
    assert.ok(grants.has(`${attemptName(event.key)} ${event.agentId}`), 'only what was granted')
    assert.equal(attempt, event.key.attempt)
  }

  const keepBody = (callId: string, body: string): void => {
    assert.equal(bodies.get(callId) ?? body, body, 'every delivery of a call is the same body')
    bodies.set(callId, body)
  }

  return {
    finals,
    sent: (id: string, terms: Terms, isSync: boolean): void => void sent.set(id, { terms, isSync }),
    told: (callId: string): void => void acceptances.add(callId),
    /** A transition, before it is written. */
    decided(
      ledger: Ledger,
      event: LedgerEvent,
      operations: readonly Operation[],
      leasesBefore: ReadonlySet<string>,
    ): void {
      for (const operation of operations) {
        if (operation.type !== 'put') continue
        if (operation.sublevel === 'lease') {
          assert.ok(!leasesBefore.has(operation.key), 'an attempt is leased once at a time')
          checkGrant(ledger, operation.key)
        }
        if (operation.sublevel !== 'history') continue
        const row = parseHistoryRow(operation.value)
        checkSource(event, row.id, row.attempt)
        assert.ok(sent.has(row.id), 'only accepted calls end')
      }
    },
    written(operations: readonly Operation[]): void {
      for (const operation of operations) {
        if (operation.type === 'put-body' && operation.kind === 'stdout') {
          keepBody(rows.get(operation.key) ?? '', text.decode(operation.bytes))
        }
        if (operation.type !== 'put') continue
        if (operation.sublevel === 'history') {
          const row = parseHistoryRow(operation.value)
          assert.ok(!finals.has(row.id), 'a call has one final state')
          finals.set(row.id, row.outcome)
          rows.set(operation.key, row.id)
        }
      }
    },
    answered(callId: string, outcome: Outcome): void {
      assert.deepEqual(finals.get(callId), outcome, 'what is told is committed')
    },
    delivered: (callId: string, body: Uint8Array): void => keepBody(callId, text.decode(body)),
    /** After the last fault: nothing accepted is without its end, and no output is lost. */
    checkAll(isOutputKept: boolean): void {
      for (const id of acceptances) assert.ok(finals.has(id), `${id} was accepted and has no end`)
      for (const [id, { state }] of finals) {
        if (state !== 'finished') continue
        const body = bodies.get(id)
        if (body === undefined) assert.ok(!isOutputKept, `the output of ${id} is lost`)
        else {
          const [call = '', attempt, epoch] = body.split(' ')
          const key = { call, attempt: Number(attempt), epoch: Number(epoch) }
          assert.equal(call, id)
          assert.equal(body, text.decode(outputOf(key)))
          assert.ok([...grants].some((grant) => grant.startsWith(`${attemptName(key)} `)))
        }
      }
    },
    checkAtMostOnce(startedNames: readonly string[]): void {
      const starts = new Map<string, number>()
      for (const name of startedNames) {
        const [id = ''] = name.split('.')
        if (sent.get(id)?.terms.atMostOnce) starts.set(id, (starts.get(id) ?? 0) + 1)
      }
      for (const [id, times] of starts) assert.equal(times, 1, `${id} was started ${times} times`)
    },
  }
}
