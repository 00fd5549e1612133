/** Why a call waits, in the words that people read. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { reasonOf, reasonOfFunc } from '../../coordinator/ledger/reasons.ts'
import type { Call, Effect, Terms } from '../../coordinator/ledger/state.ts'
import { addAccount } from '../../coordinator/ledger/step.ts'
import type { Advert } from '../../protocol/advert.ts'
import { limits } from '../../protocol/limits.ts'
import type { Hello } from '../../protocol/messages.ts'
import { createBench } from '../support/ledger-bench.ts'
import { MiB, makeResult } from '../support/ledger-words.ts'

type Bench = ReturnType<typeof createBench>

const GiB = 1024 * MiB
const other = { accountId: 'a2', funcId: 'f2' }
const local = { reference: 'mine:1', digest: null, id: 'local' }

const advert = (over: Partial<Advert>): Advert => ({
  ...{ sequence: 1, slotsFree: 1, memoryFreeBytes: 1, diskFreeBytes: 1, diskFull: false },
  ...{ engineUp: true, draining: false, images: [], ready: [] },
  ...over,
})

const threeOf = (over: Partial<Hello>) => (bench: Bench) => {
  for (const name of ['one', 'two', 'three']) bench.connect(name, over)
}

interface Row {
  readonly name: string
  readonly agents: (bench: Bench) => void
  readonly wants?: Partial<Terms>
  readonly reason: string
}

const rows: readonly Row[] = [
  { name: 'nobody', agents: () => undefined, reason: 'no agent is connected' },
  {
    name: 'memory that is in use',
    agents(bench) {
      threeOf({ memoryBytes: 2 * GiB })(bench)
      for (let count = 0; count < 3; count += 1) bench.accept({ ...other, memoryBytes: GiB })
    },
    wants: { memoryBytes: 2 * GiB },
    reason: 'needs 2 GB; 3 agents, none with more than 1 GB free',
  },
  {
    name: 'memory where there are slots',
    agents(bench) {
      bench.connect('full', { slots: 1, memoryBytes: 8 * GiB })
      bench.accept(other)
      bench.connect('small', { memoryBytes: GiB })
      bench.accept({ ...other, memoryBytes: 300 * MiB })
      bench.connect('gone', { memoryBytes: 8 * GiB })
      bench.disconnect('gone')
    },
    wants: { memoryBytes: GiB },
    reason:
      'needs 1 GB; 1 of 2 agents with a slot free, but not with more than 724 MB free (besides: 1 away)',
  },
  {
    name: 'slots',
    agents(bench) {
      threeOf({ slots: 1 })(bench)
      for (let count = 0; count < 3; count += 1) bench.accept(other)
    },
    reason: '3 agents, no slot free of 3',
  },
  {
    name: 'size',
    agents: threeOf({ memoryBytes: 1.5 * GiB }),
    wants: { memoryBytes: 2 * GiB },
    reason: 'needs 2 GB; 3 agents, none with more than 1.5 GB in all',
  },
  {
    name: 'agents without slots',
    agents: (bench) => void bench.connect('one', { slots: 0 }),
    reason: '1 agent, but not with slots',
  },
  {
    name: 'platform',
    agents(bench) {
      bench.connect('one')
      bench.connect('two')
    },
    wants: { platforms: ['linux/arm64', 'linux/riscv64'] },
    reason: 'no agent of platform linux/arm64, linux/riscv64: 2 agents of linux/amd64',
  },
  {
    name: 'an engine that nobody has seen',
    agents: (bench) => void bench.connect('one', { platform: '' }),
    wants: { platforms: null },
    reason: '1 agent, but not with an engine that it has seen',
  },
  {
    name: 'runtime',
    agents: threeOf({}),
    wants: { runtime: 'runsc' },
    reason: 'needs runtime runsc; 3 agents, none with it',
  },
  {
    name: 'the label of a constraint',
    agents(bench) {
      bench.connect('one', { labels: { gpu: 'yes', zone: 'us' } })
      bench.connect('two')
      bench.connect('three')
    },
    wants: { constraints: { gpu: 'yes', zone: 'eu' } },
    reason: 'needs label zone=eu; 1 of 3 agents could run it otherwise, but not with it',
  },
  {
    name: 'an image that one engine had',
    agents: threeOf({}),
    wants: { image: local, isAnywhere: false },
    reason: 'needs mine:1, which is only where it was made; 3 agents, none with it',
  },
  {
    name: 'an image that a former version cannot pull',
    agents: (bench) => void bench.connect('one', { protocol: 2 }),
    wants: { image: { ...local, digest: 'sha256:a', isPrivate: true } },
    reason:
      'needs mine:1, which a former version of hyper cannot pull with credentials; 1 agent, but not with it',
  },
  {
    name: 'agents that are not open',
    agents(bench) {
      bench.connect('gone')
      bench.disconnect('gone')
      bench.connect('drains', { draining: true })
      bench.connect('full')
      bench.apply({ type: 'advert', agentId: 'full', advert: advert({ diskFull: true }) })
      bench.connect('no engine')
      bench.apply({ type: 'advert', agentId: 'no engine', advert: advert({ engineUp: false }) })
    },
    reason:
      '4 agents could run it, but none takes calls now: 1 away, 1 draining, 1 with a full disk, 1 without its engine',
  },
]

describe('the reason of a call that waits', () => {
  for (const { name, agents, wants, reason } of rows) {
    test(`names ${name}`, () => {
      const bench = createBench()
      agents(bench)
      assert.equal(reasonOf(bench.ledger, bench.accept(wants)), reason)
    })
  }

  test('names a refusal, and silence', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    bench.apply({ type: 'refused', agentId: 'one', key: bench.keyOf(call), message: 'no room' })
    const closed = '1 agent could run it, but it takes no calls now: 1 '
    assert.equal(reasonOf(bench.ledger, call), `${closed}pausing after a refusal`)
    bench.connect('one')
    const next = bench.accept({ memoryBytes: 4096 * MiB })
    bench.pass(13_000, true)
    assert.equal(reasonOf(bench.ledger, next), `${closed}suspect`)
  })

  test('names quota, pause, the head before it, and what fails', () => {
    const bench = createBench(1)
    bench.connect('one', { slots: 1 })
    const first = bench.accept()
    const second = bench.accept()
    assert.equal(reasonOf(bench.ledger, first), '')
    assert.equal(reasonOf(bench.ledger, second), 'quota: 1 of 1 calls of the account run')
    bench.quota('a1', 0)
    assert.equal(reasonOf(bench.ledger, second), 'the account is paused: its quota is 0')
    bench.quota('a1', 2)
    const third = bench.accept()
    assert.equal(
      reasonOf(bench.ledger, third),
      'the first in the queue: 1 agent, no slot free of 1',
    )
    const failed = makeResult(bench.keyOf(first), 'START_FAILED', { started: false })
    bench.apply({ type: 'result', agentId: 'one', key: bench.keyOf(first), result: failed })
    assert.equal(reasonOf(bench.ledger, first), 'because START_FAILED')
    assert.equal(reasonOfFunc(bench.ledger, 'f1', 10), 'because START_FAILED')
    assert.equal(reasonOfFunc(bench.ledger, 'f2', 10), '')
  })

  test('is one line within its bound, however long the words are', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept({ runtime: 'r'.repeat(1000) })
    assert.equal(reasonOf(bench.ledger, call).length, limits.reasonCharsMax)
  })
})

describe('the log of a call that waits', () => {
  const told = (effects: readonly Effect[], call: Call): string[] =>
    effects.flatMap((effect) =>
      effect.type === 'log' && effect.line.CallId === call.id && effect.line.Event === 'PENDING'
        ? [effect.line.Message]
        : [],
    )

  test('is told why at once where no member could run it, and again when the kind changes', () => {
    const bench = createBench()
    bench.connect('one', { memoryBytes: GiB })
    const call = bench.accept({ ...other, memoryBytes: 2 * GiB, runtime: 'runsc' })
    const quiet = told(bench.pass(10 * limits.waitedStepMsMin), call)
    assert.deepEqual(quiet, [], 'the same again is not news')
    bench.connect('two', { memoryBytes: GiB, runtimes: ['runsc'] })
    assert.deepEqual(told(bench.pass(10 * limits.waitedStepMsMin), call), [
      'needs 2 GB; 1 of 2 agents could run it otherwise, but not with more than 1 GB in all',
    ])
  })

  test('is told of a head without room, not of the others, and not of a short wait', () => {
    const bench = createBench()
    bench.connect('one', { slots: 1 })
    const running = bench.accept(other)
    const head = bench.accept()
    const behind = bench.accept()
    const beat = (ms: number): Effect[] => {
      bench.heartbeat('one', [bench.keyOf(running)])
      return bench.pass(ms)
    }
    const effects = [...beat(1_000), ...beat(9_000), ...beat(9_000)]
    assert.deepEqual(told(effects, head), ['1 agent, no slot free of 1'])
    assert.deepEqual(told(effects, behind), [])
    bench.apply({ type: 'drain', agentId: 'one', draining: true })
    const later = [...Array(6)].flatMap(() => beat(9_000))
    assert.deepEqual(told(later, head), [
      '1 agent could run it, but it takes no calls now: 1 draining',
    ])
  })

  test('tells the first of many failures to start, and again after it had started', () => {
    const bench = createBench()
    bench.connect('one')
    const call = bench.accept()
    const fail = (): Effect[] => {
      const key = bench.keyOf(call)
      const result = makeResult(key, 'START_FAILED', { started: false })
      return bench.apply({ type: 'result', agentId: 'one', key, result })
    }
    assert.deepEqual(told(fail(), call), ['because START_FAILED'])
    bench.pass(2_000)
    assert.deepEqual(told(fail(), call), [])
  })

  test('is told of few heads in a tick, of all in the end', () => {
    const bench = createBench()
    const heads = Array.from({ length: limits.reasonsPerTickMax + 1 }, (_, at) => {
      addAccount(bench.ledger, `many-${at}`, 1)
      return bench.accept({ accountId: `many-${at}` })
    })
    const toldHeads = (effects: readonly Effect[]): number =>
      heads.filter((call) => told(effects, call).length > 0).length
    assert.equal(toldHeads(bench.pass(1_000)), limits.reasonsPerTickMax)
    assert.equal(toldHeads(bench.pass(1_000)), 1)
  })
})
