/** What the bench of latency does with product and engine, each as figures. */

import { setTimeout as pause } from 'node:timers/promises'
import { eventually } from '../test/support/eventually.ts'
import type { TestFunc } from '../test/support/functions.ts'
import { type Bench, call, readyNow, timed, untilIdle } from './deployed.ts'
import { availableBytes, idleCpu } from './idle-cost.ts'
import { residentBytes } from './resident.ts'
import { type Figures, figuresOf } from './statistics.ts'

const WARM_UP = 5
const STEADY_MS = 40_000
const BURST = 50
const BURSTS = 3
const STANDING = 32
/** Refills come at most this long after the other. */
const STILL_MS = 3000
const SAMPLE_MS = 1000

const ECHO = ['echo', 'hello']
const CAT = ['cat']

/** Product and engine in turn, so that a slow minute of the machine hits both. */
export const inTurn = async (
  bench: Bench,
  func: TestFunc,
  rounds: number,
  payload?: Uint8Array<ArrayBuffer>,
) => {
  const product: number[] = []
  const raw: number[] = []
  const rawLastByte: number[] = []
  for (let round = -WARM_UP; round < rounds; round += 1) {
    const own = await bench.raw.call(payload === undefined ? ECHO : CAT, payload)
    await Promise.all([pause(500), untilIdle(bench)])
    const productMs = await timed(() => call(bench, func, payload))
    await Promise.all([pause(500), untilIdle(bench)])
    if (round < 0) continue
    product.push(productMs)
    raw.push(own.wholeMs)
    rawLastByte.push(own.lastByteMs)
  }
  return {
    product: figuresOf(product),
    raw: figuresOf(raw),
    rawLastByte: figuresOf(rawLastByte),
  }
}

/** Medians of what the agent logged of its last calls, in ms, and what is left of the whole. */
export const stagesOf = (output: string, whole: Figures) => {
  const ended = output
    .split('\n')
    .filter((line) => line.includes('"call ended"') && line.includes('"startMs"'))
    .slice(-whole.n)
    .map((line) => JSON.parse(line) as { startMs: number; runMs: number })
  const containerMs = figuresOf(ended.map(({ startMs }) => startMs)).median
  const runMs = figuresOf(ended.map(({ runMs: ms }) => ms)).median
  const agentMs = figuresOf(ended.map(({ startMs, runMs: ms }) => startMs + ms)).median
  return { containerMs, runMs, restMs: whole.median - agentMs }
}

/** Calls at random moments, so many a second in the mean: what each took. */
export const steady = async (
  bench: Bench,
  func: TestFunc,
  perSecond: number,
): Promise<readonly number[]> => {
  await untilIdle(bench, STILL_MS)
  const took: Promise<number>[] = []
  const untilMs = performance.now() + STEADY_MS
  while (performance.now() < untilMs) {
    await pause((1000 / perSecond) * (0.5 + Math.random()))
    took.push(timed(() => call(bench, func)))
  }
  return Promise.all(took)
}

const burst = async (bench: Bench, func: TestFunc): Promise<number> => {
  const start = performance.now()
  await Promise.all(Array.from({ length: BURST }, () => call(bench, func)))
  return BURST / ((performance.now() - start) / 1000)
}

/** The first one is seen; the next ones are ready. Then all stand ready and nothing happens. */
export const bursts = async (bench: Bench, func: TestFunc) => {
  const rates: number[] = []
  const before = { ready: await readyNow(bench), bytes: await availableBytes() }
  for (let times = -1; times < BURSTS; times += 1) {
    const rate = await burst(bench, func)
    if (times >= 0) rates.push(rate)
    await eventually(
      async () => (await readyNow(bench)) >= BURST,
      120_000,
      () => 'the pool is not filled',
    )
    await untilIdle(bench, STILL_MS)
  }
  const ready = await readyNow(bench)
  return {
    perSecond: figuresOf(rates).median,
    readyMiB: (before.bytes - (await availableBytes())) / (ready - before.ready) / 2 ** 20,
    readyCpuMs: (await idleCpu()) / ready,
  }
}

/** MiB of a container of the engine's own that waits for its input. */
export const engineReadyMiB = async (bench: Bench): Promise<number> => {
  await untilIdle(bench, STILL_MS)
  const before = await availableBytes()
  const remove = await bench.raw.stand(STANDING)
  await untilIdle(bench, STILL_MS)
  const after = await availableBytes()
  await remove()
  return (before - after) / STANDING / 2 ** 20
}

export const underSandbox = async (
  bench: Bench,
  func: TestFunc,
  rounds: number,
): Promise<Figures> => {
  const took: number[] = []
  for (let round = -WARM_UP; round < rounds; round += 1) {
    await untilIdle(bench, STILL_MS)
    const ms = await timed(() => call(bench, func))
    if (round >= 0) took.push(ms)
  }
  return figuresOf(took)
}

/** Callers without a pause; the memory of both daemons meanwhile, by its thirds. */
export const saturated = async (
  { deployment }: Bench,
  act: () => Promise<unknown>,
  callers: number,
  forMs: number,
) => {
  const start = performance.now()
  const untilMs = start + forMs
  const isOver = (): boolean => performance.now() >= untilMs
  const thirds: [number[], number[], number[]] = [[], [], []]
  let calls = 0
  const work = async (): Promise<void> => {
    while (!isOver()) {
      await act()
      calls += 1
    }
  }
  const watch = async (): Promise<void> => {
    while (!isOver()) {
      const third = Math.min(2, Math.floor((3 * (performance.now() - start)) / forMs))
      thirds[third]?.push(await residentBytes(deployment.up.pid ?? 0))
      await pause(SAMPLE_MS)
    }
  }
  await Promise.all([watch(), ...Array.from({ length: callers }, work)])
  const perSecond = calls / ((performance.now() - start) / 1000)
  const [, second, last] = thirds.map((bytes) => figuresOf(bytes).median)
  return { perSecond, memoryGrowth: (last ?? Number.NaN) / (second ?? Number.NaN) }
}
