/** A ledger for the benches: accounts, agents and calls by the million, driven by step() alone. */

import { randomUUID } from 'node:crypto'
import type { Effect, Ledger, LedgerEvent, Terms } from '../coordinator/ledger/state.ts'
import { addAccount, createLedger, step } from '../coordinator/ledger/step.ts'
import type { AttemptKey, AttemptResult } from '../protocol/call.ts'
import type { Hello } from '../protocol/messages.ts'

const MiB = 1024 * 1024
export const NOW = { ms: 1_000, wall: '2017-03-16T07:05:24.473Z' }

export const termsOf = (accountId: string, funcId = `${accountId}-f`): Terms => ({
  ...{ accountId, funcId, revision: 1, memoryBytes: 64 * MiB, maxAttempts: 3, atMostOnce: false },
  ...{ retryOnExit: 0, queueTimeoutMs: 86_400_000, timeoutMs: 300_000, platforms: ['linux/amd64'] },
  image: { reference: 'app:1', digest: `sha256:${'a'.repeat(64)}`, id: 'i1' },
  ...{ isAnywhere: true, readyKey: 'k', runtime: '', constraints: {} },
})

const helloOf = (slots: number): Hello => ({
  ...{
    type: 'hello',
    protocol: 1,
    version: '0.1.0',
    storeId: 's1',
    start: 1,
    greeting: 1,
    epochSeen: 0,
    host: 'host',
  },
  ...{ slots, memoryBytes: slots * 64 * MiB, platform: 'linux/amd64', runtimes: ['runc'] },
  ...{ labels: {}, draining: false, attempts: [], outbox: [] },
})

const empty = new Uint8Array()
const finished: AttemptResult = {
  ...{ code: 'FINISHED', started: true, exitCode: 0, message: '', stdout: empty, stderr: empty },
  ...{ startMs: 1, runMs: 1 },
}

/** Flat in memory, as an id is once it was written. */
const newId = (): string => Buffer.from(randomUUID(), 'latin1').toString('latin1')

export const acceptEvent = (terms: Terms): Extract<LedgerEvent, { type: 'accept' }> => ({
  ...{ type: 'accept', id: newId(), terms, sync: false, payload: empty },
  ...{ environment: [], note: '' },
})

export interface LedgerBench {
  readonly ledger: Ledger
  apply(event: LedgerEvent): Effect[]
  account(id: string, quota: number): Terms
  agents(count: number, slots: number): void
  accept(terms: Terms, count: number): void
  /** A result of the attempt, from the agent that holds it. */
  resultOf(key: AttemptKey): LedgerEvent
}

export const createLedgerBench = (): LedgerBench => {
  const ledger = createLedger(1, NOW.ms)
  const apply = (event: LedgerEvent): Effect[] => step(ledger, event, NOW)
  return {
    ledger,
    apply,
    account(id, quota) {
      addAccount(ledger, id, quota)
      return termsOf(id)
    },
    agents(count, slots) {
      for (let at = 1; at <= count; at += 1) {
        const agentId = `12D3KooWAgent${at}`
        apply({ type: 'connect', agentId, name: agentId, session: at, hello: helloOf(slots) })
      }
    },
    accept(terms, count) {
      for (let at = 0; at < count; at += 1) apply(acceptEvent(terms))
    },
    resultOf(key) {
      const lease = ledger.leases.get(`${key.call}.${key.attempt}.${key.epoch}`)
      return { type: 'result', agentId: lease?.agentId ?? '', key, result: finished }
    },
  }
}

/** The attempts that these effects assign. */
export const assignedIn = (effects: readonly Effect[]): AttemptKey[] =>
  effects.flatMap((effect) => (effect.type === 'assign' ? [effect.key] : []))
