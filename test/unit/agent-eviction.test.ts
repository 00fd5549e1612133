/** Which images go when the disk gets full: only ours, the least recently used first. */

import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { createEviction } from '../../agent/eviction.ts'
import { openPulledImages } from '../../agent/pulled-images.ts'
import { limits } from '../../protocol/limits.ts'

const GiB = 1024 ** 3
const IDLE = limits.imagesIdleMsMin
const log = pino({ level: 'silent' })
const { signal } = new AbortController()

interface OnEngine {
  readonly tags: readonly string[]
  readonly bytes: number
  /** Who uses it. */
  user?: 'calls' | 'owner'
}

const newPath = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'pulled-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return join(folder, 'pulled-images.json')
}

const make = async (t: TestContext) => {
  const path = await newPath(t)
  const time = { nowMs: 1_000_000 }
  const open = () => openPulledImages({ path, engine: 'unix:///e', nowMs: () => time.nowMs, log })
  const pulled = await open()
  const engine = new Map<string, OnEngine>()
  const seen = { freeBytes: 50 * GiB, evicted: [] as string[], asked: 0, isAnswering: true }
  const evict = createEviction({
    ...{ pulled, log, nowMs: () => time.nowMs, onEvicted: (id) => seen.evicted.push(id) },
    disk: { look: async () => ({ freeBytes: seen.freeBytes, allBytes: 100 * GiB }) },
    removal: {
      async tags(id) {
        seen.asked += 1
        if (!seen.isAnswering) throw new Error('no answer')
        return engine.get(id)?.tags ?? null
      },
      async remove(id) {
        const image = engine.get(id)
        if (image?.user !== undefined) return false
        // What is removed is off the list on disk already.
        assert.ok(!(await readFile(path, 'utf8')).includes(`"${id}"`))
        seen.freeBytes += image?.bytes ?? 0
        engine.delete(id)
        return true
      },
      isUsedByCalls: async (id) => engine.get(id)?.user === 'calls',
    },
  })
  /** Pulled one after the other, by `ID:1`. */
  const pull = (id: string, image: Partial<OnEngine> = {}): void => {
    time.nowMs += 1000
    engine.set(id, { tags: [`${id}:1`], bytes: GiB, ...image })
    pulled.add(id, `${id}:1`)
  }
  const ids = (): string[] => pulled.list().map(({ id }) => id)
  return { pulled, open, path, engine, seen, time, pull, ids, evict: () => evict(signal) }
}

test('the least recently used go until there is room again, and none before', async (t) => {
  const { pulled, seen, time, pull, ids, evict } = await make(t)
  for (const id of ['a', 'b', 'c', 'd']) pull(id, { bytes: 2.5 * GiB })
  time.nowMs += 1000
  pulled.used('a')
  assert.deepEqual(ids(), ['b', 'c', 'd', 'a'])
  time.nowMs += IDLE
  seen.freeBytes = limits.imagesEvictBytes
  await evict()
  assert.deepEqual(seen.evicted, [])
  seen.freeBytes = limits.imagesEvictBytes - 1
  await evict()
  assert.deepEqual(seen.evicted, ['b', 'c'])
  assert.deepEqual(ids(), ['d', 'a'])
})

test('one that was used of late goes only when the disk is in danger', async (t) => {
  const { pulled, seen, time, pull, evict } = await make(t)
  pull('a')
  pull('b')
  time.nowMs += IDLE
  pulled.used('a')
  seen.freeBytes = limits.hostDangerBytes
  await evict()
  assert.deepEqual(seen.evicted, ['b'])
  seen.freeBytes = limits.hostDangerBytes - 1
  await evict()
  assert.deepEqual(seen.evicted, ['b', 'a'])
})

test('one that its owner named, uses or removed is his, and is never asked for again', async (t) => {
  const { engine, seen, pull, ids, evict } = await make(t)
  pull('named', { tags: ['named:1', 'mine:latest'] })
  pull('used', { user: 'owner' })
  pull('gone')
  engine.delete('gone')
  pull('ours', { tags: [] })
  seen.freeBytes = GiB
  await evict()
  assert.deepEqual(seen.evicted, ['ours'])
  assert.deepEqual([...engine.keys()], ['named', 'used'])
  assert.deepEqual(ids(), [])
  seen.asked = 0
  await evict()
  assert.equal(seen.asked, 0)
})

test('one that calls use, or whose engine does not answer, stays on the list and goes later', async (t) => {
  const { engine, seen, pull, ids, evict } = await make(t)
  pull('a', { user: 'calls' })
  seen.freeBytes = GiB
  await evict()
  assert.deepEqual([ids(), seen.evicted], [['a'], []])
  seen.isAnswering = false
  await evict()
  assert.deepEqual(ids(), ['a'])
  seen.isAnswering = true
  engine.set('a', { tags: ['a:1'], bytes: GiB })
  await evict()
  assert.deepEqual([ids(), seen.evicted], [[], ['a']])
})

test('the list outlives the agent, with the tags of each and about the time of its use', async (t) => {
  const { pulled, open, time, pull } = await make(t)
  pull('a')
  pulled.add('a', 'also:1')
  pull('b')
  await pulled.close()
  const addedMs = time.nowMs
  time.nowMs += limits.imagesUsedStepMs - 1
  pulled.used('b')
  assert.equal(pulled.list().at(-1)?.usedMs, time.nowMs)
  await pulled.close()
  const stored = (await open()).list()
  assert.deepEqual(stored[0]?.tags, ['a:1', 'also:1'])
  assert.deepEqual(stored[1], { id: 'b', tags: ['b:1'], usedMs: addedMs }, 'not worth a write')
  time.nowMs += 1
  pulled.used('b')
  await pulled.close()
  assert.equal((await open()).list().at(-1)?.usedMs, time.nowMs)
})

test('a list that is damaged or of another engine is begun anew', async (t) => {
  const path = await newPath(t)
  const options = { path, nowMs: () => 1, log }
  const pulled = await openPulledImages({ ...options, engine: 'unix:///e' })
  pulled.add('a', null)
  await pulled.close()
  assert.equal((await openPulledImages({ ...options, engine: 'unix:///e' })).has('a'), true)
  assert.deepEqual((await openPulledImages({ ...options, engine: 'unix:///f' })).list(), [])
  await writeFile(path, '{"images":[{"id":7}]}')
  assert.deepEqual((await openPulledImages({ ...options, engine: 'unix:///e' })).list(), [])
})

test('a list that cannot be written keeps no image from being removed', async (t) => {
  const file = await newPath(t)
  await writeFile(file, '')
  const path = join(file, 'below-a-file.json')
  const pulled = await openPulledImages({ path, engine: 'e', nowMs: () => 1, log })
  pulled.add('a', null)
  await pulled.drop('a')
  assert.deepEqual(pulled.list(), [])
})
