/** Who fills the disk is found and ended; time and the engine are the test's. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import type { RunningAttempt } from '../../agent/attempts.ts'
import { createDisk } from '../../agent/disk.ts'
import { createDiskWatch } from '../../agent/disk-watch.ts'
import { limits } from '../../protocol/limits.ts'
import { createTestClock, settle } from '../support/pool-bench.ts'

const MiB = 1024 * 1024
const GiB = 1024 * MiB
const DANGER = limits.hostDangerBytes

const callOf = (number: number): string =>
  `00000000-0000-4000-8000-${number.toString().padStart(12, '0')}`

/** `written`: bytes by container; null: the engine does not say. */
const make = (t: TestContext, written: Record<string, number | null>) => {
  const { clock, pass, timers } = createTestClock()
  const seen = { freeBytes: 50 * GiB, looks: 0, asked: [] as string[], ended: [] as string[] }
  const running: RunningAttempt[] = Object.keys(written).map((container, at) => ({
    ...{ container, key: { call: callOf(at), attempt: 1, epoch: 1 } },
  }))
  const log = pino({ level: 'silent' })
  const disk = createDisk({
    ...{ log, paths: () => ['/engine'], onChange: () => undefined },
    async statfs() {
      seen.looks += 1
      return { bavail: seen.freeBytes / 4096, blocks: (100 * GiB) / 4096, bsize: 4096 }
    },
  })
  const watch = createDiskWatch({
    ...{ disk, clock, log, running: () => running },
    async writtenBytes(container) {
      seen.asked.push(container)
      const bytes = written[container]
      if (bytes === null || bytes === undefined) throw new Error('no answer')
      return bytes
    },
    async end(key) {
      const at = running.findIndex((attempt) => attempt.key === key)
      const [gone] = running.splice(at, 1)
      seen.ended.push(gone?.container ?? '')
      seen.freeBytes += written[gone?.container ?? ''] ?? 0
    },
  })
  t.after(watch.close)
  const after = async (ms: number): Promise<void> => {
    watch.touch()
    await settle()
    await pass(ms)
    await settle()
  }
  return { watch, seen, running, after, timers }
}

test('the one that wrote most is ended, and nobody else', async (t) => {
  const { seen, after } = make(t, { a: GiB, b: 3 * GiB, c: 2 * GiB })
  await after(5000)
  assert.deepEqual(seen.asked, [], 'far from danger nobody is asked')
  seen.freeBytes = DANGER - MiB
  await after(limits.diskLookMs)
  assert.deepEqual(seen.ended, ['b'])
  await after(30_000)
  assert.deepEqual(seen.ended, ['b'], 'out of danger')
})

test('those go one after the other until the danger is over', async (t) => {
  const { seen, after } = make(t, { a: GiB, b: MiB, c: 0.6 * GiB })
  seen.freeBytes = DANGER - 1.5 * GiB
  await after(limits.diskLookMs)
  assert.deepEqual(seen.ended, ['a', 'c'])
})

test('nobody is ended who wrote no more than is allowed', async (t) => {
  const { seen, after } = make(t, { a: limits.rootfsBytesMax, b: null })
  seen.freeBytes = GiB / 2
  await after(60_000)
  assert.deepEqual(seen.ended, [])
  assert.ok(seen.asked.length <= 16, `asked ${seen.asked.length} times in a minute`)
})

test('a search that found nobody is made again at once when much more is written', async (t) => {
  const written: Record<string, number> = { a: 100 * MiB }
  const { seen, after } = make(t, written)
  seen.freeBytes = DANGER - MiB
  await after(1000)
  assert.equal(seen.asked.length, 1)
  written.a = limits.rootfsBytesMax + MiB
  seen.freeBytes -= limits.rootfsBytesMax * limits.writerSearchShare
  await after(limits.diskLookMs)
  assert.deepEqual(seen.ended, ['a'])
})

test('below the floor the first that wrote too much is ended before a worse one is looked for', async (t) => {
  const { seen, after } = make(t, { a: null, b: GiB, c: 2 * GiB })
  seen.freeBytes = limits.hostFreeBytesMin - MiB
  await after(0)
  assert.deepEqual([seen.asked, seen.ended], [['a', 'b'], ['b']])
})

test('nothing is looked at while no call runs, and the watch begins with the next one', async (t) => {
  const { seen, running, after, timers } = make(t, { a: GiB })
  const [attempt] = running.splice(0)
  assert.ok(attempt !== undefined)
  await after(10_000)
  assert.deepEqual([seen.looks, timers.size], [0, 0])
  running.push(attempt)
  await after(10_000)
  assert.ok(seen.looks >= 10 && seen.looks <= 12, `${seen.looks} looks in ten seconds`)
  running.splice(0)
  await after(2000)
  const { looks } = seen
  await after(10_000)
  assert.deepEqual([seen.looks, timers.size], [looks, 0])
})
