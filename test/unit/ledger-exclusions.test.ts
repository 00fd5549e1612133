/** Agents that cannot get an image: the call goes on elsewhere, and it is nobody's failure. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { reasonOf } from '../../coordinator/ledger/reasons.ts'
import type { Call } from '../../coordinator/ledger/state.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { createBench, outcomeIn } from '../support/ledger-bench.ts'

const notStarted = { started: false }
const digest = (name: string): string => `sha256:${name.padEnd(64, '0')}`
const image = { reference: 'closed:1', digest: digest('1'), id: 'i1', isPrivate: true }

const setUp = (agents: readonly string[]) => {
  const bench = createBench()
  for (const agent of agents) bench.connect(agent)
  return {
    ...bench,
    agentOf: (call: Call) => bench.leaseOf(call)?.agentId,
    refuse: (call: Call, code: ErrorCode) =>
      bench.end(bench.leaseOf(call)?.agentId ?? '', bench.keyOf(call), code, notStarted),
    holds: (agentId: string, images: readonly string[]) =>
      bench.apply({
        type: 'advert',
        agentId,
        advert: {
          ...{ sequence: 1, slotsFree: 1, memoryFreeBytes: 1, diskFreeBytes: 1, diskFull: false },
          ...{ engineUp: true, draining: false, images: [...images], ready: [] },
        },
      }),
  }
}

describe('an agent for whose platform the registry has no image', () => {
  test('is left out for that image alone; the call goes on at once, and has used up nothing', () => {
    const bench = setUp(['one', 'two'])
    const call = bench.accept({ maxAttempts: 1, atMostOnce: true })
    assert.equal(bench.agentOf(call), 'one')
    bench.refuse(call, 'PLATFORM_MISMATCH')
    assert.equal(bench.agentOf(call), 'two')
    assert.equal(call.attemptsLost, 0)
    bench.end('two', bench.keyOf(call))
    const [second, third] = [bench.accept(), bench.accept({ accountId: 'a2' })]
    assert.deepEqual([second, third].map(bench.agentOf), ['two', 'two'], 'of any account')
    const other = { ...image, digest: digest('2'), isPrivate: false }
    assert.equal(bench.agentOf(bench.accept({ image: other })), 'one')
  })

  test('is not asked again until it says hello anew; meanwhile the call is aside, with its reason', () => {
    const bench = setUp(['one', 'two'])
    const call = bench.accept()
    bench.refuse(call, 'PLATFORM_MISMATCH')
    bench.refuse(call, 'PLATFORM_MISMATCH')
    assert.equal(call.state, 'aside')
    const reason = 'no agent of platform: the registry has app:1 for none of linux/amd64 (2 agents)'
    assert.equal(reasonOf(bench.ledger, call), reason)
    assert.equal(bench.accept().state, 'aside', 'the next one is not tried')
    bench.pass(10 * limits.platformRetryMs)
    assert.equal(call.state, 'aside')
    bench.disconnect('two')
    assert.equal(call.state, 'aside')
    bench.connect('two')
    assert.equal(bench.agentOf(call), 'two')
  })

  test('ends the call where its program was started nevertheless: that is the image’s fault', () => {
    const bench = setUp(['one', 'two'])
    const call = bench.accept()
    const effects = bench.end('one', bench.keyOf(call), 'PLATFORM_MISMATCH')
    assert.equal(outcomeIn(effects, call)?.code, 'PLATFORM_MISMATCH')
    assert.equal(bench.agentOf(bench.accept()), 'one')
  })

  test('is forgotten first where there are too many images', () => {
    const bench = setUp(['one'])
    const agent = bench.ledger.agents.get('one')
    for (let number = 0; number <= limits.exclusionsPerAgentMax; number += 1) {
      const call = bench.accept({ image: { ...image, digest: digest(`${number}-`) } })
      bench.refuse(call, 'PLATFORM_MISMATCH')
      bench.cancel(call)
    }
    assert.equal(agent?.excluded.size, limits.exclusionsPerAgentMax)
    assert.equal(agent.excluded.has(digest('0-')), false)
  })
})

describe('an agent to which the registry does not give an image', () => {
  const terms = { image }

  test('is left out for that account alone, until the account gives credentials', () => {
    const bench = setUp(['one'])
    const call = bench.accept(terms)
    bench.refuse(call, 'REGISTRY_UNAUTHORIZED')
    assert.equal(call.state, 'aside')
    assert.match(reasonOf(bench.ledger, call), /^1 agent, but the registry does not give closed:1/)
    assert.equal(bench.agentOf(bench.accept({ ...terms, accountId: 'a2' })), 'one')
    bench.apply({ type: 'registry-auth', accountId: 'a2' })
    assert.equal(call.state, 'aside')
    bench.apply({ type: 'registry-auth', accountId: 'a1' })
    assert.equal(bench.agentOf(call), 'one')
  })

  test('is asked again once it holds the image', () => {
    const bench = setUp(['one'])
    const call = bench.accept(terms)
    bench.refuse(call, 'REGISTRY_UNAUTHORIZED')
    bench.holds('one', [digest('2'), digest('1')])
    assert.equal(bench.agentOf(call), 'one')
  })
})

describe('an image that is pulled with credentials', () => {
  test('is placed on agents that can ask for them, and on those that hold it', () => {
    const bench = createBench()
    bench.connect('former', { protocol: 2 })
    const call = bench.accept({ image })
    assert.equal(call.state, 'queued')
    bench.connect('this')
    assert.equal(bench.leaseOf(call)?.agentId, 'this')
  })
})

describe('platforms of an image', () => {
  test('decide where its calls run; one that every agent makes for itself runs on all', () => {
    const bench = createBench()
    bench.connect('amd', { slots: 1 })
    bench.connect('arm', { slots: 9, platform: 'linux/arm64' })
    const both = bench.accept({ platforms: ['linux/amd64', 'linux/arm64'] })
    assert.equal(bench.leaseOf(both)?.agentId, 'arm')
    assert.equal(bench.leaseOf(bench.accept({ platforms: null }))?.agentId, 'arm')
    assert.equal(bench.leaseOf(bench.accept({ platforms: ['linux/amd64'] }))?.agentId, 'amd')
  })
})
