/**
 * A process that writes until it is killed, and says on STDOUT what was acknowledged:
 *
 *   fault-writer.ts store FOLDER SEED FLAW     the steps of store-workload.ts, from where it stands
 *   fault-writer.ts outbox FOLDER SEED FLAW    the attempts of outbox-workload.ts
 *
 * FLAW is a fault of the program, for tests of tests: `none`; `early acknowledgements`: a step is said
 * before it is committed; `unsynced rows`: LevelDB is not asked to sync; `unsynced files`: bodies in
 * files are not synced. What is said is in the pipe before
 * anything else happens, so it outlives this process.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Level } from 'level'
import { openOutbox } from '../../agent/outbox.ts'
import { createCommitLoop } from '../../coordinator/commit-loop.ts'
import type { Drive } from '../../coordinator/store/drive.ts'
import { openLevelDrive } from '../../coordinator/store/level-drive.ts'
import { createStore } from '../../coordinator/store/store.ts'
import { limits } from '../../protocol/limits.ts'
import { createRandom } from '../simulation/random.ts'
import { workOutbox } from './outbox-workload.ts'
import { createWorkload, readContents, stepOf } from './store-workload.ts'

const TOGETHER_MAX = 24

const [, , what, folder = '', seedText, flaw] = process.argv
const seed = Number(seedText)

const say = (line: string): void => void process.stdout.write(`${line}\n`)

const withoutSync = (name: 'put' | 'batch'): void => {
  const write = Level.prototype[name]
  Object.defineProperty(Level.prototype, name, {
    value(...given: readonly unknown[]) {
      const isOptions = (one: unknown): one is object =>
        typeof one === 'object' && one !== null && 'sync' in one
      const told = given.map((one) => (isOptions(one) ? { ...one, sync: false } : one))
      return Reflect.apply(write, this, told)
    },
  })
}

const openDrive = async (): Promise<Drive> => {
  const drive = await openLevelDrive(folder)
  if (flaw === 'unsynced rows') withoutSync('batch')
  if (flaw !== 'unsynced files') return drive
  return {
    ...drive,
    async writeFiles(files) {
      for (const { name, bytes } of files) await writeFile(join(folder, 'blobs', name), bytes)
    },
  }
}

const workStore = async (): Promise<void> => {
  const store = await createStore(await openDrive(), {
    pause: (ms, signal) => pause(ms, undefined, { signal }).catch(() => undefined),
    onTrouble: (trouble) => process.stderr.write(`${trouble}\n`),
    inlineBytesMax: limits.inlineBodyBytesMax,
  })
  const workload = createWorkload(seed)
  let step = stepOf(await readContents(store))
  const random = createRandom(seed + step)
  const loop = createCommitLoop(store, (error) => {
    throw error
  })
  let inFlight = 0
  const work = (): void => {
    for (let room = random.between(1, TOGETHER_MAX) - inFlight; room > 0; room -= 1) {
      step += 1
      inFlight += 1
      const own = step
      if (flaw === 'early acknowledgements') say(`step ${own}`)
      loop.add(workload.operations(own), () => {
        if (flaw !== 'early acknowledgements') say(`step ${own}`)
        inFlight -= 1
        if (inFlight === 0) work()
      })
    }
  }
  work()
}

if (what === 'store') await workStore()
else {
  if (flaw === 'unsynced rows') withoutSync('put')
  await workOutbox(await openOutbox(folder), seed, say)
}
