import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { startHeartbeat } from '../../agent/heartbeat.ts'
import { limits } from '../../protocol/limits.ts'
import type { AgentMessage } from '../../protocol/messages.ts'

const second = 1000
const key = { call: '01234567-89ab-4def-8123-456789abcdef', attempt: 1, epoch: 1 }

/** A heartbeat on a channel that the test plays, in the test's own time. */
const startBench = (t: TestContext, { isStuck = false } = {}) => {
  let nowMs = 0
  t.mock.timers.enable({ apis: ['setInterval'] })
  t.mock.method(performance, 'now', () => nowMs)
  const sent: { readonly atMs: number; readonly message: AgentMessage }[] = []
  const aborts: { readonly atMs: number; readonly reason: Error }[] = []
  const held: (typeof key)[] = []
  let bytes = 0
  const beat = startHeartbeat({
    channel: {
      send(message) {
        sent.push({ atMs: nowMs, message })
        return isStuck ? new Promise(() => undefined) : Promise.resolve()
      },
      abort(reason) {
        aborts.push({ atMs: nowMs, reason })
        beat.stop()
      },
      bytesReceived: () => bytes,
    },
    session: 3,
    attempts: { renewable: () => held },
  })
  t.after(beat.stop)
  return {
    ...{ sent, aborts, held, beat },
    receive(count: number): void {
      bytes += count
    },
    /** Second by second; `each` is what comes in it. */
    async pass(seconds: number, each: () => void = () => undefined): Promise<void> {
      for (let n = 0; n < seconds; n += 1) {
        each()
        nowMs += second
        t.mock.timers.tick(second)
        await turn()
      }
    },
    times: (): number[] => sent.map(({ atMs }) => atMs / second),
  }
}

test('an idle agent beats at once and every five seconds; one with attempts every second', async (t) => {
  const { beat, held, pass, sent, times } = startBench(t)
  await pass(10, beat.heard)
  assert.deepEqual(times(), [0, 5, 10])
  held.push(key)
  await pass(4, beat.heard)
  assert.deepEqual(times(), [0, 5, 10, 11, 12, 13, 14])
  assert.deepEqual(sent.at(-1)?.message, { type: 'heartbeat', session: 3, attempts: [key] })
  held.pop()
  await pass(10, beat.heard)
  assert.deepEqual(times().slice(7), [19, 24])
})

test('a silent coordinator is given up, not before its time', async (t) => {
  const { aborts, beat, pass } = startBench(t)
  await pass(7)
  beat.heard()
  await pass(limits.heartbeatSilenceMs / second)
  assert.equal(aborts.length, 0)
  await pass(1)
  assert.equal(aborts[0]?.atMs, 7 * second + limits.heartbeatSilenceMs + second)
  assert.match(aborts[0]?.reason.message ?? '', /silent/)
  assert.ok('code' in (aborts[0]?.reason ?? {}))
})

test('a part of a long message is a sign of life, and its end of parts a silence', async (t) => {
  const { aborts, pass, receive } = startBench(t)
  await pass(60, () => receive(1))
  assert.equal(aborts.length, 0)
  await pass(limits.heartbeatSilenceMs / second + 1)
  assert.equal(aborts.length, 1)
})

test('no heartbeat is sent behind one that still waits', async (t) => {
  const { beat, held, pass, times } = startBench(t, { isStuck: true })
  held.push(key)
  await pass(10, beat.heard)
  assert.deepEqual(times(), [0])
})

test('a heartbeat that was stopped says no more', async (t) => {
  const { aborts, beat, pass, times } = startBench(t)
  beat.stop()
  await pass(60)
  assert.deepEqual([times(), aborts], [[0], []])
})
