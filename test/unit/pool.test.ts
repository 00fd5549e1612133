import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { createPoolBench, settle, specOf } from '../support/pool-bench.ts'

describe('the pool', () => {
  test('a call that finds none ready gets the next of its kind, and one more is made ready after', async () => {
    const bench = createPoolBench()
    bench.call('a')
    assert.equal(bench.starts.length, 1)
    const id = await bench.starts[0]?.succeed()
    assert.deepEqual(bench.got, [id])
    assert.equal(bench.starts.length, 0, 'no refill beside the call')
    await bench.fill()
    assert.ok(bench.stock('a') >= 1)
    bench.call('a')
    assert.equal(bench.got.length, 2, 'at once')
    assert.ok(!bench.got.slice(0, 1).includes(bench.got[1] ?? ''), 'another container')
  })

  test('on a full disk calls are served, and none is made ready until it has room', async () => {
    let isDiskFull = true
    const bench = createPoolBench({ isDiskFull: () => isDiskFull })
    bench.call('a')
    await bench.starts[0]?.succeed()
    assert.equal(bench.got.length, 1)
    await bench.fill()
    assert.equal(bench.stock('a'), 0)
    isDiskFull = false
    await bench.pass(limits.readyTidyMs)
    await bench.fill()
    assert.ok(bench.stock('a') >= 1)
  })

  test('calls of one kind never get those of another', async () => {
    const bench = createPoolBench()
    bench.call('a')
    await bench.fill()
    bench.call('b')
    assert.equal(bench.got.length, 1)
    assert.equal(bench.starts[0]?.spec.image, 'b')
  })

  test('no container is given twice, whatever happens', async () => {
    const act = fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom('call a', 'call b') },
      { weight: 4, arbitrary: fc.constantFrom('start', 'fail', 'pass', 'pass long') },
      { weight: 1, arbitrary: fc.constantFrom('die', 'cancel') },
    )
    const property = fc.asyncProperty(fc.array(act, { maxLength: 80 }), async (acts) => {
      const bench = createPoolBench()
      let calls = 0
      let last = new AbortController()
      for (const what of acts) {
        if (what.startsWith('call')) {
          last = new AbortController()
          calls += 1
          bench.call(what, last.signal)
        } else if (what === 'start') await bench.starts[0]?.succeed()
        else if (what === 'fail') await bench.starts[0]?.fail(new Error('no start'))
        else if (what === 'cancel') last.abort()
        else if (what === 'die') await bench.end(`c${calls}`)
        else await bench.pass(what === 'pass' ? limits.lullMs : limits.demandGenerationMs)
        assert.ok(bench.starts.length <= 2, 'starts side by side')
      }
      assert.equal(new Set(bench.got).size, bench.got.length, 'given twice')
      for (const id of bench.removed) assert.ok(!bench.got.includes(id), `${id} was a call’s`)
      await bench.fill()
      assert.equal(bench.got.length + bench.failures.length, calls, 'every call is answered')
      const closed = bench.pool.close()
      for (const one of [...bench.starts]) await one.succeed()
      await closed
      assert.equal(bench.pool.ready().size, 0)
    })
    await fc.assert(property, { numRuns: 200 })
  })

  test('a burst that was seen once is ready the next time', async () => {
    const bench = createPoolBench()
    for (let times = 0; times < 50; times += 1) bench.call('a')
    await bench.fill()
    assert.equal(bench.got.length, 50)
    assert.ok(bench.stock('a') >= 50, `${bench.stock('a')} stand ready`)
    for (let times = 0; times < 50; times += 1) bench.call('a')
    assert.equal(bench.got.length, 100, 'each at once')
  })

  test('a call that waits goes before refills, in the order of the calls', async () => {
    const bench = createPoolBench()
    for (let times = 0; times < 8; times += 1) bench.call('a')
    await bench.fill()
    for (let times = 0; times < 8; times += 1) bench.call('a')
    await bench.pass(limits.lullMs)
    assert.deepEqual(
      bench.starts.map(({ spec }) => spec.image),
      ['a', 'a'],
      'refills',
    )
    bench.call('b')
    bench.call('c')
    await bench.starts[0]?.succeed()
    assert.equal(bench.starts[1]?.spec.image, 'b')
    await bench.starts[0]?.succeed()
    assert.equal(bench.starts[1]?.spec.image, 'c')
  })

  test('a call that was cancelled while it waited leaves its container to the next', async () => {
    const bench = createPoolBench()
    const cancel = new AbortController()
    bench.call('a', cancel.signal)
    cancel.abort()
    await settle()
    assert.equal(bench.failures.length, 1)
    await bench.starts[0]?.succeed()
    bench.call('a')
    assert.equal(bench.got.length, 1)
  })

  test('what cannot be started tells the call why, and is left alone for longer and longer', async () => {
    const bench = createPoolBench()
    const why = new HyperError('USER_NOT_FOUND', 'no such user')
    bench.call('a')
    await bench.starts[0]?.fail(why)
    assert.deepEqual(bench.failures, [why])
    let tries = 0
    for (let seconds = 0; seconds < 120; seconds += 1) {
      await bench.pass(1000)
      for (const one of [...bench.starts]) {
        tries += 1
        await one.fail(why)
      }
    }
    assert.ok(tries >= 3 && tries <= 8, `${tries} tries in two minutes`)
    bench.call('a')
    assert.equal(bench.starts.length, 1, 'a call is always tried')
    await bench.starts[0]?.succeed()
    await bench.fill()
    assert.ok(bench.stock('a') > 0, 'and its success ends the pause')
  })

  test('what nobody asks for any more is removed, and nothing is kept of it', async () => {
    const bench = createPoolBench()
    bench.call('a')
    await bench.fill()
    const stock = bench.stock('a')
    await bench.pass(2 * limits.demandGenerationMs + limits.readyTidyMs)
    assert.equal(bench.stock('a'), 0)
    assert.equal(bench.removed.length, stock)
    await bench.pass(limits.readyTidyMs)
    assert.equal(bench.timers.size, 0, 'it has come to rest')
  })

  test('no more stand ready than there is room for, and each kind has one first', async () => {
    const room = { containers: 4, bytes: Number.POSITIVE_INFINITY }
    const bench = createPoolBench({ room: () => room })
    for (const kind of ['a', 'a', 'a', 'a', 'a', 'a', 'b', 'c']) bench.call(kind)
    await bench.fill()
    assert.deepEqual(['a', 'b', 'c'].map((kind) => bench.stock(kind)).sort(), [1, 1, 2])
    room.containers = 1
    await bench.pass(limits.readyTidyMs)
    assert.equal(
      [...bench.pool.ready().values()].reduce((sum, count) => sum + count, 0),
      1,
    )
  })

  test('memory that calls hold is not taken for refills', async () => {
    let freeBytes = 2 * limits.readyBytes
    const bench = createPoolBench({ memoryFreeBytes: () => freeBytes })
    for (let times = 0; times < 4; times += 1) bench.call('a')
    await bench.fill()
    assert.equal(bench.stock('a'), 2)
    freeBytes = 10 * limits.readyBytes
    await bench.pass(limits.readyTidyMs)
    await bench.fill()
    assert.ok(bench.stock('a') >= 4)
  })

  test('one that dies while it waits is removed and never given', async () => {
    const bench = createPoolBench()
    bench.call('a')
    await bench.fill()
    const stock = bench.stock('a')
    await bench.end('c2')
    assert.equal(bench.stock('a'), stock - 1)
    assert.deepEqual(bench.removed, ['c2'])
  })

  test('a kind that is prepared has one ready', async () => {
    const bench = createPoolBench()
    bench.pool.prepare('a', specOf('a'))
    await bench.fill()
    assert.equal(bench.stock('a'), 1)
    bench.pool.prepare('a', specOf('a'))
    await bench.fill()
    assert.equal(bench.stock('a'), 1, 'and only one')
  })

  test('without an engine nothing is made ready', async () => {
    let isUp = false
    const bench = createPoolBench({ isUp: () => isUp })
    bench.pool.prepare('a', specOf('a'))
    await bench.pass(limits.readyTidyMs)
    assert.equal(bench.starts.length, 0)
    isUp = true
    await bench.pass(limits.readyTidyMs)
    assert.equal(bench.starts.length, 1)
  })

  test('it owns what stands ready and what is being started, and nothing else', async () => {
    const bench = createPoolBench()
    bench.pool.prepare('a', specOf('a'))
    await bench.pass(limits.lullMs)
    const labels = bench.starts[0]?.spec.labels ?? {}
    const owns = (id: string, of = labels): boolean =>
      bench.pool.owns({ id, isRunning: true, labels: of })
    assert.ok(owns('not told yet'))
    assert.ok(!owns('of another process', { ...labels, 'hyper.boot': 'b0' }))
    const id = await bench.starts[0]?.succeed()
    assert.ok(owns(id ?? ''))
    bench.call('a')
    assert.ok(!owns(id ?? ''), 'it is the call’s now')
  })

  test('a refill waits for a lull, but not for ever', async () => {
    const bench = createPoolBench()
    for (let times = 0; times < 40; times += 1) bench.call('a')
    await bench.fill()
    const stepMs = limits.lullMs - 10
    let passedMs = 0
    for (; bench.starts.length === 0 && bench.stock('a') > 0; passedMs += stepMs) {
      bench.call('a')
      await bench.pass(stepMs)
    }
    assert.equal(bench.starts.length > 0, true, 'one was started though calls came')
    assert.ok(passedMs >= limits.lullPatienceMs, `after ${passedMs} ms`)
    assert.ok(passedMs <= limits.lullPatienceMs + 2 * stepMs, `after ${passedMs} ms`)
  })

  test('patience at its end, all that is wanted is started, not one a second', async () => {
    const bench = createPoolBench()
    for (let times = 0; times < 40; times += 1) bench.call('a')
    await bench.fill()
    const stock = bench.stock('a')
    assert.ok(stock > 4)
    const stepMs = limits.lullMs - 10
    for (let passedMs = 0; passedMs < limits.lullPatienceMs; passedMs += stepMs) {
      bench.call('a')
      await bench.pass(stepMs)
    }
    for (let times = 0; times < 4; times += 1) {
      bench.call('a')
      assert.equal(bench.starts.length, 2, 'as many as may be under way')
      await bench.starts[0]?.succeed()
    }
  })

  test('when it closes, nothing is left and who waits is told', async () => {
    const bench = createPoolBench()
    bench.call('a')
    await bench.fill()
    const stock = bench.stock('a')
    bench.call('b')
    await bench.pool.close()
    await settle()
    assert.equal(bench.failures.length, 1)
    assert.equal(bench.removed.length, stock)
    assert.equal(bench.timers.size, 0)
  })
})
