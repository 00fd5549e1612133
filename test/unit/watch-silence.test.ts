/** What the coordinator sees of an agent between its messages. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { watchSilence } from '../../coordinator/session.ts'
import { limits } from '../../protocol/limits.ts'
import type { MemberChannel } from '../../protocol/mesh/agent-channel.ts'

/** A channel that the test plays, second by second. */
const startBench = (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let bytes = 0
  const told = { bulk: 0, aborts: 0 }
  const channel = {
    bytesReceived: () => bytes,
    abort: () => {
      told.aborts += 1
    },
  }
  const watch = watchSilence(channel as unknown as MemberChannel, () => {
    told.bulk += 1
  })
  t.after(watch.stop)
  return {
    told,
    pass(seconds: number, each: { readonly bytes: number; readonly isWhole: boolean }): void {
      for (let n = 0; n < seconds; n += 1) {
        bytes += each.bytes
        if (each.isWhole) watch.heard()
        t.mock.timers.tick(limits.heartbeatBusyMs)
      }
    },
  }
}

test('an agent that says something now and then is no news', (t) => {
  const { pass, told } = startBench(t)
  for (let n = 0; n < 12; n += 1) {
    pass(4, { bytes: 0, isWhole: false })
    pass(1, { bytes: 200, isWhole: true })
  }
  assert.deepEqual(told, { bulk: 0, aborts: 0 })
})

test('many bytes are results on their way, also beside other messages', (t) => {
  const { pass, told } = startBench(t)
  pass(10, { bytes: limits.bulkBytesMin, isWhole: true })
  assert.equal(told.bulk, 10)
})

test('few bytes are that where no message of them is whole, and no silence', (t) => {
  const { pass, told } = startBench(t)
  pass(60, { bytes: 1, isWhole: false })
  assert.deepEqual(told, { bulk: 60, aborts: 0 })
})

test('an agent of whom nothing comes is given up, not before its time', (t) => {
  const { pass, told } = startBench(t)
  const looks = limits.heartbeatSilenceMs / limits.heartbeatBusyMs
  pass(1, { bytes: 1, isWhole: true })
  pass(looks - 1, { bytes: 0, isWhole: false })
  assert.equal(told.aborts, 0)
  pass(1, { bytes: 0, isWhole: false })
  assert.equal(told.aborts, 1)
})
