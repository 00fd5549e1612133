/** A ledger whose writes reach a disk, and that can be loaded from it again. */

import { createCaches } from '../../coordinator/caches.ts'
import type { Effect, LedgerEvent, Terms } from '../../coordinator/ledger/state.ts'
import { addAccount, createLedger, step } from '../../coordinator/ledger/step.ts'
import { loadLedger } from '../../coordinator/load.ts'
import type { Operation } from '../../coordinator/store/store.ts'
import type { Hello } from '../../protocol/messages.ts'
import { createDisk } from './ledger-disk.ts'
import { checkBooks } from './ledger-invariants.ts'
import { makeHello, makeTerms } from './ledger-words.ts'

export const CALL = '00000000-0000-4000-8000-000000000001'
const wall = '2017-03-16T07:05:24.473Z'

export const createRestartable = (over: Partial<Terms> = {}) => {
  const disk = createDisk()
  const terms = makeTerms(over)
  let caches = createCaches()
  let ledger = createLedger(1, 0)
  let nowMs = 0
  addAccount(ledger, 'a1', 1)
  const writesOf = (effect: Effect): Operation[] => {
    if (effect.type === 'write') return [effect.operation]
    if (effect.type === 'ended') {
      return caches.addHistory(effect.row, effect.isOwed ? null : effect.body, nowMs)
    }
    if (effect.type === 'output-gone') return caches.dropOutput(effect.row, nowMs)
    return effect.type === 'keep-output' ? caches.keepOutput(effect.row, effect.body, nowMs) : []
  }
  const apply = (event: LedgerEvent): Effect[] => {
    const effects = step(ledger, event, { ms: nowMs, wall })
    checkBooks(ledger)
    disk.commitNow(effects.flatMap(writesOf))
    return effects
  }
  return {
    disk,
    apply,
    ledger: () => ledger,
    caches: () => caches,
    call: () => ledger.calls.get(CALL),
    accept: (sync = false): Effect[] =>
      apply({
        ...{ type: 'accept', id: CALL, terms, sync, environment: [], note: '' },
        payload: new Uint8Array(5),
      }),
    connect: (over_: Partial<Hello> = {}): Effect[] =>
      apply({ type: 'connect', agentId: 'one', name: 'one', session: 1, hello: makeHello(over_) }),
    pass(ms: number): Effect[] {
      const effects: Effect[] = []
      for (const endMs = nowMs + ms; nowMs < endMs; ) {
        nowMs += 1_000
        effects.push(...apply({ type: 'tick' }))
      }
      return effects
    },
    /** The coordinator looks at its clocks once, so much later. */
    later(ms: number): Effect[] {
      nowMs += ms
      return apply({ type: 'tick' })
    },
    async restart(accounts = [{ id: 'a1', quota: 1 }]): Promise<void> {
      ledger = createLedger(ledger.epoch + 1, nowMs)
      caches = createCaches()
      await loadLedger(disk, ledger, caches, accounts, () => terms, nowMs)
      checkBooks(ledger)
    },
  }
}
