/** A process that is killed at random moments, also while it opens what the last one left. */

import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { openStore } from '../../coordinator/store/store.ts'
import { limits } from '../../protocol/limits.ts'
import { makeFolder } from '../support/disk.ts'
import { eventually } from '../support/eventually.ts'
import { chooseSeed } from '../support/seed.ts'
import { checkStore, createExpectation, createWorkload } from '../support/store-workload.ts'
import { lastStep, startWriter } from '../support/writer.ts'

const KILLS = 20
const KILL_MS_MAX = 150
/** One in so many is killed at a random moment of its start. */
const STARTS = 5
const START_MS_MAX = 500

test('a killed process has written all that it acknowledged, and left no file behind', async (t) => {
  const { seed, random } = chooseSeed(t)
  const folder = join(await makeFolder(t), 'store')
  const expectation = createExpectation(createWorkload(seed))
  const steps: number[] = [0]
  for (let kill = 0; kill < KILLS; kill += 1) {
    const writer = startWriter({ what: 'store', folder, seed })
    const isStarting = kill % STARTS === STARTS - 1
    if (!isStarting) await eventually(() => writer.lines.length > 0)
    await pause(random.below(isStarting ? START_MS_MAX : KILL_MS_MAX))
    await writer.kill()
    const store = await openStore(folder)
    const acknowledged = Math.max(lastStep(writer.lines), steps.at(-1) ?? 0)
    const step = await checkStore(store, expectation, acknowledged)
    await store.close()
    steps.push(step)
    const files = [...expectation(step).bodies]
      .filter(([, bytes]) => bytes.byteLength > limits.inlineBodyBytesMax)
      .map(([name]) => name.replaceAll('/', '.'))
    const found = (await readdir(join(folder, 'blobs'))).map((name) => name.replace(/\.\d+$/, ''))
    assert.deepEqual(found.sort(), files.sort(), 'the files are those that rows point to')
  }
  t.diagnostic(`killed at steps ${steps.slice(1).join(', ')}`)
})
