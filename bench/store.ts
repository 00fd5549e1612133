/**
 * The store alone, in one run (bench/results/store.json):
 *
 *   accepts  a call accepted: its row, its input and two log lines, durable, at 1, 16, 64 and 256
 *            writers, beside a file that the same bytes are appended to with a shared fdatasync
 *   bodies   outputs of 8 KB, 32 KB and 0.1–1 MB, kept to a fixed number, with small commits beside,
 *            where bodies above 4, 16 or 64 KB are files
 *
 * What is compared is measured in turn, and more than once, so that a slow minute hits all.
 */

import { randomBytes, randomUUID } from 'node:crypto'
import { rowKey } from '../coordinator/rows.ts'
import { del, delBody, numberKey, type Operation, put, putBody } from '../coordinator/store.ts'
import { sealRow } from '../daemon/sealed-row.ts'
import { limits } from '../protocol/limits.ts'
import { keepResults } from './report.ts'
import { type Figures, figuresOf } from './statistics.ts'
import { type Latencies, runWriters, withRawFile, withStore } from './store-writers.ts'

const KiB = 1024
const ROUNDS = 3
const ROUND_MS = 1_000
const WRITERS = [1, 16, 64, 256]
const THRESHOLDS = [4 * KiB, 16 * KiB, 64 * KiB]
const SIZES: Readonly<Record<string, () => number>> = {
  '8 KB': () => 8 * KiB,
  '32 KB': () => 32 * KiB,
  '0.1-1 MB': () => 100 * KiB + Math.floor(Math.random() * 900 * KiB),
}
/** Outputs that are kept; an older one goes with each that comes. */
const KEPT = 48
const BODY_WRITERS = 4
const SMALL_WRITERS = 16

const noise = randomBytes(1024 * KiB)

const line = (seq: number, event: string, callId: string) =>
  put('log', rowKey('f1', seq), {
    ...{ Seq: seq, Time: '2017-03-16T07:05:24.473Z', Event: event, CallId: callId },
    ...{ ShortStdin: 'x'.repeat(100), ShortStdout: '', ShortStderr: '', Message: '' },
  })

const acceptOf = (seq: number): Operation[] => {
  const id = randomUUID()
  return [
    put('call', numberKey(seq), [id, 'f1', 1, 1_489_648_800_000, 100]),
    putBody('input', numberKey(seq), noise.subarray(0, 200)),
    put('meta', 'seq', seq + 1),
    line(2 * seq, 'CALL', id),
    line(2 * seq + 1, 'PENDING', id),
  ]
}

/** The bytes that the store writes for it, keys and checksums with them. */
const bytesOf = (operations: readonly Operation[]): Uint8Array =>
  Buffer.concat(
    operations.map((operation) => {
      if (operation.type === 'put') {
        return Buffer.concat([Buffer.from(operation.key), sealRow(operation.value)])
      }
      return operation.type === 'put-body' ? operation.bytes : Buffer.alloc(0)
    }),
  )

const rate = (latencies: readonly number[], ms: number): number =>
  Math.round((latencies.length / ms) * 1000)

const measureAccepts = async (writers: number) => {
  const raw: number[] = []
  const store: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const bytes = bytesOf(acceptOf(1))
    const ofRaw = await withRawFile((append) =>
      runWriters([{ name: 'raw', writers, write: () => append(bytes) }], ROUND_MS),
    )
    const ofStore = await withStore(limits.inlineBodyBytesMax, (commit) =>
      runWriters([{ name: 'store', writers, write: (seq) => commit(acceptOf(seq)) }], ROUND_MS),
    )
    raw.push(...(ofRaw.raw ?? []))
    store.push(...(ofStore.store ?? []))
  }
  const ms = ROUNDS * ROUND_MS
  const rates = { raw: rate(raw, ms), store: rate(store, ms) }
  const ratio = Math.round((rates.store / rates.raw) * 100) / 100
  return { writers, perSecond: rates, ratio, ms: { raw: figuresOf(raw), store: figuresOf(store) } }
}

/** Outputs come and go; small commits beside them. */
const runBodies = (
  inlineBytesMax: number,
  size: () => number,
): Promise<{ latencies: Latencies; bytes: number }> =>
  withStore(inlineBytesMax, async (commit) => {
    let bytes = 0
    const write = (number: number): Promise<void> => {
      const body = noise.subarray(0, size())
      bytes += body.byteLength
      const key = rowKey('f1', number)
      const old = rowKey('f1', Math.max(0, number - KEPT))
      return commit([
        put('output', key, { bytes: body.byteLength }),
        putBody('stdout', key, body),
        del('output', old),
        delBody('stdout', old),
      ])
    }
    const small = (number: number): Promise<void> =>
      commit([put('call', numberKey(number), [randomUUID(), 'f1', 1, 0, 0])])
    const latencies = await runWriters(
      [
        { name: 'bodies', writers: BODY_WRITERS, write },
        { name: 'small', writers: SMALL_WRITERS, write: small },
      ],
      ROUND_MS,
    )
    return { latencies, bytes }
  })

interface BodyFigures {
  readonly size: string
  readonly filesAbove: number
  readonly megabytesPerSecond: number
  readonly smallMs: Figures
}

const measureBodies = async (): Promise<BodyFigures[]> => {
  const found = new Map<string, { bytes: number; small: number[]; size: string; above: number }>()
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [size, draw] of Object.entries(SIZES)) {
      for (const above of THRESHOLDS) {
        const { latencies, bytes } = await runBodies(above, draw)
        const name = `${size} ${above}`
        const one = found.get(name) ?? { bytes: 0, small: [], size, above }
        one.bytes += bytes
        one.small.push(...(latencies.small ?? []))
        found.set(name, one)
      }
    }
  }
  return [...found.values()].map(({ size, above, bytes, small }) => ({
    size,
    filesAbove: above,
    megabytesPerSecond: Math.round(bytes / KiB / KiB / ((ROUNDS * ROUND_MS) / 1000)),
    smallMs: figuresOf(small),
  }))
}

const accepts: Awaited<ReturnType<typeof measureAccepts>>[] = []
for (const writers of WRITERS) {
  const one = await measureAccepts(writers)
  accepts.push(one)
  const { perSecond, ratio, ms } = one
  console.log(
    `${writers} writers: ${perSecond.store} accepts a second (p50 ${ms.store.median}, p99 ${ms.store.p99} ms), raw ${perSecond.raw} (p50 ${ms.raw.median}, p99 ${ms.raw.p99}), ratio ${ratio}`,
  )
}
const bodies = await measureBodies()
for (const { size, filesAbove, megabytesPerSecond, smallMs } of bodies) {
  console.log(
    `bodies of ${size}, files above ${filesAbove / KiB} KB: ${megabytesPerSecond} MB/s, small commits beside: p50 ${smallMs.median}, p99 ${smallMs.p99} ms`,
  )
}
await keepResults('store', { accepts, bodies })
