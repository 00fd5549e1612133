import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { conditionOf } from '../../coordinator/agent-view.ts'
import { reasonOf } from '../../coordinator/ledger/reasons.ts'
import { limits } from '../../protocol/limits.ts'
import { createBench, outcomeIn } from '../support/ledger-bench.ts'
import { MiB, makeHello } from '../support/ledger-words.ts'

const minute = 60_000
const a2 = { accountId: 'a2', funcId: 'f2' }

describe('choosing what runs next', () => {
  test('a quota of 0 pauses, a lower one stops nothing, a higher one starts at once', () => {
    const bench = createBench(2)
    bench.connect('one')
    const calls = [bench.accept(), bench.accept(), bench.accept(), bench.accept()]
    const states = (): string[] => calls.map((call) => call.state)
    assert.deepEqual(states(), ['leased', 'leased', 'queued', 'queued'])
    bench.quota('a1', 0)
    assert.deepEqual(states(), ['leased', 'leased', 'queued', 'queued'])
    const [first] = calls
    assert.ok(first !== undefined)
    bench.end('one', bench.keyOf(first))
    assert.deepEqual(states().slice(1), ['leased', 'queued', 'queued'])
    bench.quota('a1', 3)
    assert.deepEqual(states().slice(1), ['leased', 'leased', 'leased'])
  })

  test('the account with the lowest running/quota goes first, ties by the oldest head', () => {
    const bench = createBench(4)
    for (let count = 0; count < 6; count += 1) bench.accept()
    for (let count = 0; count < 6; count += 1) bench.accept(a2)
    bench.connect('one', { slots: 4 })
    const leases = (id: string): number => bench.ledger.accounts.get(id)?.leases ?? 0
    assert.deepEqual([leases('a1'), leases('a2')], [2, 2])
    bench.quota('a2', 2)
    bench.connect('two', { slots: 1 })
    assert.deepEqual([leases('a1'), leases('a2')], [3, 2])
  })

  test('a head that waits for room blocks its own account and no other', () => {
    const bench = createBench()
    bench.connect('one', { memoryBytes: 100 * MiB })
    bench.connect('away', { memoryBytes: 1000 * MiB })
    bench.disconnect('away')
    const large = bench.accept({ memoryBytes: 500 * MiB })
    const behind = bench.accept()
    const other = bench.accept(a2)
    assert.deepEqual([large.state, behind.state, other.state], ['queued', 'queued', 'leased'])
    assert.match(
      reasonOf(bench.ledger, large),
      /^1 of 2 agents could run it, but it takes no calls now: 1 away$/,
    )
  })

  test('a call that no member could ever run is set aside, and others pass it', () => {
    const bench = createBench()
    bench.connect('one')
    const hopeless = bench.accept({ platforms: ['linux/riscv64'] })
    const call = bench.accept()
    assert.deepEqual([hopeless.state, call.state], ['aside', 'leased'])
    bench.connect('two', { platform: 'linux/riscv64' })
    bench.pass(30_000)
    assert.equal(hopeless.state, 'leased')
  })

  test('nobody is set aside while there is no member', () => {
    const bench = createBench()
    const hopeless = bench.accept({ platforms: ['linux/riscv64'] })
    bench.pass(minute)
    assert.equal(hopeless.state, 'queued')
    assert.equal(reasonOf(bench.ledger, hopeless), 'no agent is connected')
  })

  test('labels, runtime, memory and a local image decide who may run a call', () => {
    const bench = createBench()
    bench.connect('plain')
    bench.connect('gpu', { labels: { gpu: 'yes' }, runtimes: ['runc', 'runsc'] })
    assert.equal(bench.leaseOf(bench.accept({ constraints: { gpu: 'yes' } }))?.agentId, 'gpu')
    assert.equal(bench.leaseOf(bench.accept({ runtime: 'runsc' }))?.agentId, 'gpu')
    const local = bench.accept({
      image: { reference: 'mine', digest: null, id: 'local' },
      isAnywhere: false,
    })
    assert.equal(local.state, 'queued')
    const advert = {
      ...{ sequence: 1, slotsFree: 1, memoryFreeBytes: 1, diskFreeBytes: 1, diskFull: false },
      ...{ engineUp: true, draining: false, images: ['local'], ready: [] },
    }
    bench.apply({ type: 'advert', agentId: 'plain', advert })
    assert.equal(bench.leaseOf(local)?.agentId, 'plain')
  })

  test('an agent that fell silent is offered nothing, though it seems connected', () => {
    const bench = createBench()
    bench.connect('frozen')
    const first = bench.accept()
    bench.start('frozen', first)
    bench.connect('fresh', { slots: 1 })
    bench.pass(13_000, true)
    bench.heartbeat('fresh', [])
    const second = bench.accept()
    assert.equal(bench.leaseOf(second)?.agentId, 'fresh')
    bench.end('fresh', bench.keyOf(second))
    for (let second_ = 0; second_ < 10; second_ += 1) {
      bench.pass(1000, true)
      bench.heartbeat('fresh', [])
    }
    assert.equal(bench.leaseOf(first)?.agentId, 'fresh', 'run again where somebody answers')
  })

  test('a call whose attempt was lost is run again elsewhere, though less is free there', () => {
    const bench = createBench()
    bench.connect('mute', { slots: 9 })
    bench.connect('other', { slots: 1 })
    const call = bench.accept()
    assert.equal(bench.leaseOf(call)?.agentId, 'mute')
    // It beats, and never says a word of the call.
    const pass = (): void => {
      for (let seconds = 0; seconds < 30; seconds += 1) {
        bench.pass(1000, true)
        for (const id of ['mute', 'other']) bench.heartbeat(id, [])
      }
    }
    pass()
    assert.deepEqual([bench.leaseOf(call)?.agentId, bench.leaseOf(call)?.key.attempt], ['other', 2])
    bench.apply({ type: 'drain', agentId: 'other', draining: true })
    bench.disconnect('other')
    pass()
    assert.equal(bench.leaseOf(call)?.agentId, 'mute', 'better than nowhere')
  })

  test('a call that no member could run starts as soon as one comes that can', () => {
    const bench = createBench()
    bench.connect('small', { memoryBytes: 64 * MiB })
    const large = bench.accept({ memoryBytes: 128 * MiB })
    assert.equal(large.state, 'aside')
    bench.connect('large', { memoryBytes: 256 * MiB })
    assert.equal(bench.leaseOf(large)?.agentId, 'large')
  })

  test('an agent that the operator drained while it was away is told so and offered nothing', () => {
    const bench = createBench()
    bench.connect('one')
    bench.disconnect('one')
    bench.apply({ type: 'drain', agentId: 'one', draining: true })
    const call = bench.accept()
    const hello = makeHello()
    const effects = bench.apply({ type: 'connect', agentId: 'one', name: 'one', session: 9, hello })
    const orders = effects.flatMap((effect) => (effect.type === 'send' ? [effect.order.type] : []))
    assert.deepEqual(orders, ['drain'])
    assert.equal(effects[0]?.type, 'welcome', 'the welcome comes first')
    assert.equal(call.state, 'queued')
    bench.apply({ type: 'drain', agentId: 'one', draining: false })
    assert.equal(call.state, 'leased')
  })

  test('an agent that drains or has no engine is offered nothing', () => {
    const bench = createBench()
    bench.connect('one', { draining: true })
    const call = bench.accept()
    assert.equal(call.state, 'queued')
    bench.apply({ type: 'draining', agentId: 'one', draining: false })
    assert.equal(call.state, 'leased')
  })
})

describe('an agent whose disk is full', () => {
  const advertOf = (sequence: number, diskFull: boolean) => ({
    ...{ sequence, slotsFree: 1, memoryFreeBytes: 1, diskFreeBytes: 1, diskFull },
    ...{ engineUp: true, draining: false, images: [], ready: [] },
  })

  test('is offered nothing until it has room again, and keeps what it runs', () => {
    const bench = createBench()
    bench.connect('one')
    const first = bench.accept()
    bench.start('one', first)
    bench.apply({ type: 'advert', agentId: 'one', advert: advertOf(1, true) })
    const second = bench.accept()
    assert.deepEqual([first.state, second.state], ['running', 'queued'])
    const shown = () => {
      const { agents, lastTickMs } = bench.ledger
      return conditionOf({}, agents.get('one'), { absence: null, isEpochAhead: false }, lastTickMs)
    }
    assert.deepEqual(shown(), { state: 'alive', reason: 'disk full' })
    const reason = '1 agent could run it, but it takes no calls now: 1 with a full disk'
    assert.equal(reasonOf(bench.ledger, second), reason)
    bench.end('one', bench.keyOf(first))
    assert.equal(second.state, 'queued')
    bench.apply({ type: 'advert', agentId: 'one', advert: advertOf(2, false) })
    assert.equal(bench.leaseOf(second)?.agentId, 'one')
    assert.deepEqual(shown(), { state: 'alive', reason: '' })
  })

  test('leaves the calls to the others, and is named beside them', () => {
    const bench = createBench()
    bench.connect('full', { slots: 9 })
    bench.connect('small', { slots: 1 })
    bench.apply({ type: 'advert', agentId: 'full', advert: advertOf(1, true) })
    assert.equal(bench.leaseOf(bench.accept())?.agentId, 'small')
    bench.apply({ type: 'drain', agentId: 'small', draining: true })
    assert.match(
      reasonOf(bench.ledger, bench.accept()),
      /none takes calls now: 1 with a full disk, 1 draining$/,
    )
  })
})

describe('queueTimeout', () => {
  const queueTimeoutMs = 10 * minute

  test('counts while a call is head with quota free', () => {
    const bench = createBench()
    const call = bench.accept({ queueTimeoutMs })
    assert.equal(outcomeIn(bench.pass(queueTimeoutMs - 1_000), call), undefined)
    const outcome = outcomeIn(bench.pass(2_000), call)
    assert.equal(outcome?.code, 'NOT_PLACED')
    assert.match(outcome?.message ?? '', /not placed within 600 s: no agent is connected/)
  })

  test('does not count while the coordinator itself is away', () => {
    const bench = createBench()
    const call = bench.accept({ queueTimeoutMs })
    bench.away(2 * queueTimeoutMs)
    assert.equal(call.state, 'queued')
    assert.equal(outcomeIn(bench.pass(queueTimeoutMs + 1_000), call)?.code, 'NOT_PLACED')
  })

  test('counts while a call is set aside', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept({ queueTimeoutMs, platforms: ['linux/riscv64'] })
    assert.equal(outcomeIn(bench.pass(queueTimeoutMs + 31_000), call)?.code, 'NOT_PLACED')
  })

  test('ends a call of which less is left than the clock can count', () => {
    const bench = createBench()
    bench.connect('one')
    // A number of so many milliseconds has no place for what is left below.
    bench.away(100 * queueTimeoutMs)
    const call = bench.accept({ queueTimeoutMs, platforms: ['linux/riscv64'] })
    assert.ok(call.delay !== null)
    call.delay.waitedMs = queueTimeoutMs - limits.waitedStepMsMin - 1e-10
    assert.equal(outcomeIn(bench.pass(2 * limits.waitedStepMsMin), call)?.code, 'NOT_PLACED')
  })

  test('does not count behind the quota, in a pause, or behind another call', () => {
    const bench = createBench(1)
    const first = bench.accept({ queueTimeoutMs: 100 * queueTimeoutMs })
    const second = bench.accept({ queueTimeoutMs })
    assert.equal(outcomeIn(bench.pass(2 * queueTimeoutMs), second), undefined)
    bench.connect('one')
    for (let beat = 0; beat < 120; beat += 1) {
      bench.pass(10_000)
      bench.heartbeat('one', [bench.keyOf(first)])
    }
    bench.quota('a1', 0)
    bench.cancel(first)
    bench.pass(2 * queueTimeoutMs)
    assert.equal(second.state, 'queued')
  })

  test('does not count while an attempt is heard of that the books have no room for', () => {
    const bench = createBench(1)
    bench.connect('one', { slots: 1 })
    const call = bench.accept({ queueTimeoutMs })
    const key = bench.keyOf(call)
    bench.quota('a1', 0)
    bench.pass(25_000)
    const other = bench.accept(a2)
    assert.equal(other.state, 'leased')
    bench.heartbeat('one', [key])
    bench.quota('a1', 1)
    for (let beat = 0; beat < 120; beat += 1) {
      bench.pass(10_000)
      bench.heartbeat('one', [key, bench.keyOf(other)])
    }
    assert.equal(call.state, 'queued')
    bench.end('one', bench.keyOf(other))
    assert.deepEqual(bench.keyOf(call), key)
  })
})
