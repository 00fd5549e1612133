/** No account waits for ever: whoever has quota free and a head that fits is served in its turn. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { addAccount } from '../../coordinator/ledger/step.ts'
import { createBench } from '../support/ledger-bench.ts'

const accounts = fc.array(
  fc.record({ quota: fc.integer({ min: 1, max: 6 }), calls: fc.integer({ min: 1, max: 12 }) }),
  { minLength: 2, maxLength: 5 },
)

/** All calls are there; then one after the other ends. In which order accounts get their leases. */
const leaseOrder = (
  plan: readonly { readonly quota: number; readonly calls: number }[],
  slots: number,
): string[] => {
  const bench = createBench()
  const order: string[] = []
  const rounds = Math.max(...plan.map(({ calls }) => calls))
  for (const [at, { quota }] of plan.entries()) addAccount(bench.ledger, `b${at}`, quota)
  for (let round = 0; round < rounds; round += 1) {
    plan.forEach(({ calls }, at) => {
      if (round < calls) bench.accept({ accountId: `b${at}`, funcId: `b${at}` })
    })
  }
  const { ledger } = bench
  const known = new Set<string>()
  const note = (): void => {
    for (const [name, lease] of ledger.leases) {
      if (!known.has(name)) order.push(lease.terms.accountId)
      known.add(name)
    }
  }
  bench.connect('one', { slots })
  note()
  while (ledger.leases.size > 0) {
    const [lease] = ledger.leases.values()
    assert.ok(lease !== undefined)
    bench.end('one', lease.key)
    note()
  }
  assert.equal(ledger.calls.size, 0, 'every call was served')
  return order
}

describe('fairness', () => {
  test('serves every account, and none waits longer than one turn of all the others', () => {
    const check = (plan: { quota: number; calls: number }[], slots: number): void => {
      const order = leaseOrder(plan, slots)
      // Before an account has its first lease, nobody can have had more than its whole quota twice.
      plan.forEach((_, at) => {
        const first = order.indexOf(`b${at}`)
        const before = order.slice(0, first)
        plan.forEach(({ quota }, other) => {
          const had = before.filter((id) => id === `b${other}`).length
          // Each account without a lease goes before any that holds one.
          if (other !== at)
            assert.ok(had <= Math.min(quota, 1), `b${other} had ${had} before b${at}`)
        })
      })
    }
    fc.assert(fc.property(accounts, fc.integer({ min: 5, max: 8 }), check), { numRuns: 150 })
  })

  test('shares the slots by quota while everybody has calls that wait', () => {
    const bench = createBench()
    for (const [id, quota] of [
      ['b1', 4],
      ['b2', 8],
    ] as const) {
      addAccount(bench.ledger, id, quota)
      for (let at = 0; at < 20; at += 1) bench.accept({ accountId: id, funcId: id })
    }
    bench.connect('one', { slots: 9 })
    const leases = (id: string): number => bench.ledger.accounts.get(id)?.leases ?? 0
    assert.deepEqual([leases('b1'), leases('b2')], [3, 6])
  })
})
