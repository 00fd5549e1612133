/**
 * The store alone, through the commit loop, on this machine's disk.
 *
 * writers     1, 16, 64, 256 clients that each wait for their last transaction (a call accepted: two
 *             rows, an input of 200 B, a line of a log), beside the same bytes appended to a file
 *             with one fdatasync for all that wait (raw): the least that durability can cost
 * thresholds  bodies of 2 to 128 KB coming and going, 4 clients, kept inline up to 4, 16, 64 KB: how
 *             many bytes a second, how many are written for each, and what a small transaction beside
 *             them waits
 * large       the same with bodies of 0.1 to 1 MB
 *
 * What is compared is measured in turns, so that a slow minute of the machine hits all. Prints medians
 * of the rounds and keeps them in bench/results/store.json.
 */

import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createCommitLoop } from '../coordinator/commit-loop.ts'
import { openLevelDrive } from '../coordinator/store/level-drive.ts'
import {
  createStore,
  delBody,
  numberKey,
  type Operation,
  put,
  putBody,
} from '../coordinator/store/store.ts'
import { limits } from '../protocol/limits.ts'
import { keepResults } from './report.ts'
import { figuresOf } from './statistics.ts'

const KiB = 1024
const ROUNDS = 5
const ROUND_MS = 1500
const WRITERS = [1, 16, 64, 256]
const THRESHOLDS = [4 * KiB, 16 * KiB, 64 * KiB]
const SMALL_BODIES = [2, 6, 12, 24, 48, 128].map((size) => size * KiB)
const LARGE_BODIES = [100, 250, 500, 1000].map((size) => size * KiB)
const BODY_WRITERS = 4
/** Bodies of one client that stay, so that as many go as come. */
const BODIES_KEPT = 30

type Commit = (operations: readonly Operation[]) => Promise<void>

/** Something that is opened, used for one round, and removed. */
interface Opened {
  readonly commit: Commit
  close(): Promise<void>
}

const openLoop = async (folder: string, inlineBytesMax: number): Promise<Opened> => {
  const store = await createStore(await openLevelDrive(folder), {
    inlineBytesMax,
    pause: (ms, signal) => pause(ms, undefined, { signal }).catch(() => undefined),
    onTrouble: console.error,
  })
  const loop = createCommitLoop(store, (error) => {
    throw error
  })
  return {
    commit: (operations) => new Promise((resolve) => loop.add(operations, resolve)),
    async close() {
      await loop.close()
      await store.close()
    },
  }
}

/** The bytes of a transaction, as the store writes them to its log, about. */
const RAW_BYTES = 850

const openRaw = async (folder: string): Promise<Opened> => {
  const file = await open(`${folder}.raw`, 'w')
  let waiting: (() => void)[] = []
  let isBusy = false
  const run = async (): Promise<void> => {
    isBusy = true
    while (waiting.length > 0) {
      const batch = waiting
      waiting = []
      await file.write(Buffer.alloc(RAW_BYTES * batch.length, 1))
      await file.datasync()
      for (const done of batch) done()
    }
    isBusy = false
  }
  return {
    commit: () =>
      new Promise((resolve, reject) => {
        waiting.push(resolve)
        if (!isBusy) queueMicrotask(() => void (isBusy || run().catch(reject)))
      }),
    close: () => file.close(),
  }
}

const row = (text: string, bytes: number) => ({ id: text, rest: 'x'.repeat(bytes) })
const input = new Uint8Array(200)
let lastSeq = 0

const accept = (): Operation[] => {
  lastSeq += 1
  const key = numberKey(lastSeq)
  return [
    put('call', key, row(key, 120)),
    putBody('input', key, input),
    put('log', `f/${key}`, row(key, 150)),
    put('meta', 'seq', lastSeq),
  ]
}

/** Acts again and again until the round is over; how long each took, in ms. */
const repeat = async (endMs: number, act: () => Promise<void>): Promise<number[]> => {
  const took: number[] = []
  while (performance.now() < endMs) {
    const start = performance.now()
    await act()
    took.push(performance.now() - start)
  }
  return took
}

const inFolder = async <T>(use: (folder: string) => Promise<T>): Promise<T> => {
  const folder = await mkdtemp(join(tmpdir(), 'hyper-bench-'))
  try {
    return await use(join(folder, 'store'))
  } finally {
    await rm(folder, { recursive: true })
  }
}

const measureWriters = async (opened: Opened, writers: number) => {
  const endMs = performance.now() + ROUND_MS
  const each = Array.from({ length: writers }, () => repeat(endMs, () => opened.commit(accept())))
  const took = (await Promise.all(each)).flat()
  await opened.close()
  return { perSecond: took.length / (ROUND_MS / 1000), ...figuresOf(took) }
}

/** Bytes that this process has had written to the disk. */
const writtenBytes = async (): Promise<number> =>
  Number(/^write_bytes: (\d+)/m.exec(await readFile('/proc/self/io', 'utf8'))?.[1])

const measureBodies = async (opened: Opened, sizes: readonly number[]) => {
  const before = await writtenBytes()
  const endMs = performance.now() + ROUND_MS
  const bodies = sizes.map((size) => crypto.getRandomValues(new Uint8Array(Math.min(size, 65536))))
  let bytes = 0
  const writeBodies = async (writer: number): Promise<void> => {
    let n = 0
    await repeat(endMs, async () => {
      n += 1
      const size = sizes[n % sizes.length] ?? 0
      const body = new Uint8Array(size)
      body.set(bodies[n % sizes.length] ?? [])
      const gone = `w${writer}/${n - BODIES_KEPT}`
      await opened.commit([putBody('stdout', `w${writer}/${n}`, body), delBody('stdout', gone)])
      bytes += size
    })
  }
  const small = repeat(endMs, () => opened.commit(accept()))
  await Promise.all(Array.from({ length: BODY_WRITERS }, (_, writer) => writeBodies(writer)))
  const figures = figuresOf(await small)
  await opened.close()
  return {
    mbPerSecond: bytes / 1e6 / (ROUND_MS / 1000),
    amplification: ((await writtenBytes()) - before) / bytes,
    small: figures,
  }
}

const median = (values: readonly number[]): number => figuresOf(values).median

const benchWriters = async () => {
  const results = []
  for (const writers of WRITERS) {
    const store: Awaited<ReturnType<typeof measureWriters>>[] = []
    const raw: typeof store = []
    for (let round = 0; round < ROUNDS; round += 1) {
      const opened = (folder: string) => openLoop(folder, limits.inlineBodyBytesMax)
      store.push(await inFolder(async (dir) => measureWriters(await opened(dir), writers)))
      raw.push(await inFolder(async (dir) => measureWriters(await openRaw(dir), writers)))
    }
    const of = (rounds: typeof store) => ({
      perSecond: Math.round(median(rounds.map(({ perSecond }) => perSecond))),
      medianMs: median(rounds.map((round) => round.median)),
      p99Ms: median(rounds.map((round) => round.p99)),
    })
    const result = { writers, store: of(store), raw: of(raw) }
    const share = result.store.perSecond / result.raw.perSecond
    console.log(`${writers} writers`, JSON.stringify(result), `store/raw ${share.toFixed(2)}`)
    results.push({ ...result, ratio: Math.round(100 * share) / 100 })
  }
  return results
}

const benchBodies = async (name: string, sizes: readonly number[]) => {
  const rounds = new Map(
    THRESHOLDS.map((threshold) => [threshold, [] as Awaited<ReturnType<typeof measureBodies>>[]]),
  )
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [threshold, measured] of rounds) {
      measured.push(
        await inFolder(async (folder) => measureBodies(await openLoop(folder, threshold), sizes)),
      )
    }
  }
  return [...rounds].map(([threshold, measured]) => {
    const result = {
      inlineKiB: threshold / KiB,
      mbPerSecond: Math.round(median(measured.map(({ mbPerSecond }) => mbPerSecond))),
      amplification: median(measured.map(({ amplification }) => amplification)),
      smallMedianMs: median(measured.map(({ small }) => small.median)),
      smallP99Ms: median(measured.map(({ small }) => small.p99)),
      smallMaxP99Ms: Math.max(...measured.map(({ small }) => small.p99)),
    }
    console.log(name, JSON.stringify(result))
    return result
  })
}

const writers = await benchWriters()
const thresholds = await benchBodies('bodies of 2 to 128 KB', SMALL_BODIES)
const large = await benchBodies('bodies of 0.1 to 1 MB', LARGE_BODIES)
await keepResults('store', { writers, thresholds, large })
