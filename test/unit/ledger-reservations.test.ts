import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Call } from '../../coordinator/ledger/state.ts'
import { addAccount } from '../../coordinator/ledger/step.ts'
import { limits } from '../../protocol/limits.ts'
import { createBench } from '../support/ledger-bench.ts'
import { MiB } from '../support/ledger-words.ts'

const second = 1000
const minute = 60 * second
const small = { memoryBytes: 100 * MiB, timeoutMs: 10 * minute }
const large = { accountId: 'a2', funcId: 'f2', memoryBytes: 900 * MiB, timeoutMs: minute }

type Bench = ReturnType<typeof createBench>

/** Seconds pass in which every agent names what it holds. */
const pass = (bench: Bench, seconds: number): void => {
  for (let passed = 0; passed < seconds; passed += 1) {
    bench.pass(second)
    for (const agent of bench.ledger.agents.values()) {
      if (agent.session !== 0)
        bench.heartbeat(
          agent.id,
          [...agent.leases].map(({ key }) => key),
        )
    }
  }
}

/** Agents of 1,000 MiB; a stream of small calls of one account keeps each of them busy. */
const createStream = (...agentIds: string[]) => {
  const bench = createBench(100)
  bench.quota('a2', 10)
  for (const id of agentIds) bench.connect(id, { memoryBytes: 1000 * MiB, slots: 20 })
  const running: Call[] = []
  const feed = (): void => {
    while (running.length < 10 * agentIds.length) running.push(bench.accept(small))
  }
  const endOldest = (): void => {
    const oldest = running.find((call) => call.state === 'leased' || call.state === 'running')
    if (oldest === undefined) return
    running.splice(running.indexOf(oldest), 1)
    bench.end(bench.leaseOf(oldest)?.agentId ?? '', bench.keyOf(oldest))
  }
  feed()
  return {
    bench,
    /** One small call ends and another comes, every second. */
    stream(seconds: number): void {
      for (let passed = 0; passed < seconds; passed += 1) {
        pass(bench, 1)
        endOldest()
        feed()
      }
    },
    endOldest,
  }
}

describe('a head that finds no room', () => {
  test('waits 30 s, then what frees on one agent is held for it', () => {
    const { bench, stream } = createStream('one')
    const head = bench.accept(large)
    stream(29)
    assert.equal(bench.ledger.reservations.size, 0)
    stream(3)
    assert.equal(bench.ledger.reservations.get('a2')?.agent.id, 'one')
    stream(12)
    assert.equal(bench.leaseOf(head)?.agentId, 'one')
    assert.equal(bench.ledger.reservations.size, 0)
    assert.equal(bench.ledger.agents.get('one')?.reservedFor, null)
  })

  test('takes no more than its need: the rest is still given out', () => {
    const bench = createBench(100)
    bench.quota('a2', 10)
    bench.connect('wide', { memoryBytes: 2000 * MiB, slots: 20 })
    const filling = Array.from({ length: 12 }, () => bench.accept(small))
    bench.accept(large)
    pass(bench, 32)
    assert.equal(bench.ledger.reservations.size, 1)
    for (const call of filling.slice(0, 2)) bench.end('wide', bench.keyOf(call))
    // Of 2,000 MiB 1,000 are in use and 900 held: one more small call fits, and no second one.
    assert.equal(bench.accept(small).state, 'leased')
    assert.equal(bench.accept(small).state, 'queued')
  })

  test('holds room on at most half of the agents, one each', () => {
    const { bench, stream } = createStream('one', 'two', 'three', 'four')
    for (const accountId of ['a2', 'a3', 'a4']) {
      if (accountId !== 'a2') addAccount(bench.ledger, accountId, 10)
      bench.accept({ ...large, accountId, funcId: accountId })
    }
    stream(33)
    const held = [...bench.ledger.reservations.values()].map(({ agent }) => agent.id)
    assert.equal(held.length, 2)
    assert.equal(new Set(held).size, 2)
  })

  test('waits its turn where many do: so many get room in a tick, the oldest first', () => {
    const bench = createBench(100)
    const most = limits.reservationsPerTickMax
    const accountIds = Array.from({ length: most + 2 }, (_, n) => `b${n}`)
    for (let n = 0; n < 2 * accountIds.length; n += 1) {
      bench.connect(`agent-${n}`, { memoryBytes: 1000 * MiB })
      bench.accept({ memoryBytes: 500 * MiB, timeoutMs: 0 })
    }
    for (const accountId of accountIds) {
      addAccount(bench.ledger, accountId, 10)
      bench.accept({ ...large, accountId, funcId: accountId })
    }
    const { reservations } = bench.ledger
    for (let passed = 0; passed < 60 && reservations.size === 0; passed += 1) pass(bench, 1)
    assert.deepEqual([...reservations.keys()], accountIds.slice(0, most))
    pass(bench, 1)
    assert.deepEqual([...reservations.keys()], accountIds)
  })

  test('chooses the agent whose calls must end soonest', () => {
    const bench = createBench(100)
    bench.quota('a2', 10)
    bench.connect('slow', { memoryBytes: 1000 * MiB })
    bench.accept({ memoryBytes: 500 * MiB, timeoutMs: 0 })
    bench.connect('quick', { memoryBytes: 1000 * MiB })
    bench.accept({ memoryBytes: 500 * MiB, timeoutMs: 5 * minute })
    bench.accept({ ...large })
    pass(bench, 31)
    assert.equal(bench.ledger.reservations.get('a2')?.agent.id, 'quick')
  })

  test('moves on to another agent after 10 min', () => {
    const bench = createBench(100)
    bench.quota('a2', 10)
    for (const id of ['one', 'two']) bench.connect(id, { memoryBytes: 1000 * MiB })
    const endless = { memoryBytes: 500 * MiB, timeoutMs: 0 }
    const calls = [bench.accept(endless), bench.accept(endless)]
    assert.equal(new Set(calls.map((call) => bench.leaseOf(call)?.agentId)).size, 2)
    bench.accept(large)
    pass(bench, 31)
    const first = bench.ledger.reservations.get('a2')?.agent.id
    pass(bench, 590)
    assert.equal(bench.ledger.reservations.get('a2')?.agent.id, first)
    pass(bench, 15)
    assert.notEqual(bench.ledger.reservations.get('a2')?.agent.id, first)
    assert.equal(bench.ledger.reservations.size, 1)
  })

  test('lets go when its call ends and when its agent leaves', () => {
    const { bench, stream } = createStream('one', 'two')
    const head = bench.accept({ ...large, memoryBytes: 1000 * MiB })
    stream(32)
    const [first] = [...bench.ledger.reservations.values()].map(({ agent }) => agent)
    assert.ok(first !== undefined)
    bench.disconnect(first.id)
    pass(bench, 1)
    const [second_] = [...bench.ledger.reservations.values()].map(({ agent }) => agent)
    assert.notEqual(second_, first)
    bench.apply({ type: 'cancel', callId: head.id })
    pass(bench, 1)
    assert.equal(bench.ledger.reservations.size, 0)
    assert.ok([...bench.ledger.agents.values()].every(({ reservedFor }) => reservedFor === null))
  })
})
