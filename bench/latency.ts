/**
 * What a call costs, beside the raw engine's own price in the same run (raw-engine.ts).
 *
 * echo      a synchronous call, one a second: gateway, ledger, mesh, agent, fresh container, and back;
 *           where its time goes, by the agent's own log
 * megabyte  the same with 1 MB in and 1 MB out
 * steady    1, 2 and 3 calls a second, at random moments: how many found no container ready, and what
 *           they took
 * burst     50 at once onto 50 that stand ready
 * ready     what one that stands ready costs while nothing happens (idle-cost.ts)
 * sandbox   a call under gVisor, a kernel of its own
 * saturated callers without a pause, for a minute: calls a second
 *
 * Product and engine are measured in turn, so that a slow minute of the machine hits both. Prints n,
 * minimum, median, p99 and ratios; keeps them, with the machine, in bench/results/latency.json. Exits 1
 * where a bound is broken.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import {
  COMPILER_NEEDS,
  ENGINE_NEEDS,
  ensurePackages,
  findCommand,
} from '../cli/setup/engine-install.ts'
import { startDeployment } from '../test/support/deployment.ts'
import { connectDocker } from '../test/support/docker.ts'
import { RUNTIME_NEEDS } from '../test/support/engine.ts'
import { eventually } from '../test/support/eventually.ts'
import { createFunc, type TestFunc } from '../test/support/functions.ts'
import { IMAGE_NEEDS } from '../test/support/images.ts'
import { startWorkbench } from '../test/support/workbench.ts'
import { type Bench, call, readyNow, timed, untilIdle } from './deployed.ts'
import { availableBytes, idleCpu } from './idle-cost.ts'
import { createRawEngine } from './raw-engine.ts'
import { keepResults } from './report.ts'
import { type Figures, figuresOf } from './statistics.ts'

const ROUNDS = 40
const MEGABYTE_ROUNDS = 15
const WARM_UP = 5
const SANDBOX_ROUNDS = 15
const STEADY_MS = 40_000
const BURST = 50
const BURSTS = 3
const SATURATED_MS = 60_000

const ECHO_RATIO_MIN = 25
const MEGABYTE_RATIO_MIN = 5
const MISSES_MAX = 0.02
const BURST_RATE_MIN = 150
const SATURATED_RATIO_MIN = 0.95
const READY_MIB_MAX = 5
/** Two parts in a thousand of one processor. */
const READY_CPU_MS_MAX = 2
const SANDBOX_MS_MAX = 40
/** A call that took longer than this part of the engine's own found no container ready. */
const MISS_SHARE = 0.5

const MEGABYTE = new Uint8Array(1024 * 1024).fill(120)
const ECHO = ['echo', 'hello']
const CAT = ['cat']

let isBroken = false
const check = (what: string, value: number, bound: { min?: number; max?: number }): void => {
  const isOver = !(value >= (bound.min ?? -Infinity) && value <= (bound.max ?? Infinity))
  isBroken ||= isOver
  const limit = bound.min === undefined ? `at most ${bound.max}` : `at least ${bound.min}`
  console.log(`${isOver ? 'OVER' : 'ok  '} ${what}: ${value.toFixed(2)} (${limit})`)
}

const show = (name: string, { n, min, median, p99 }: Figures): void => {
  const numbers = [min, median, p99].map((ms) => ms.toFixed(1).padStart(9)).join('')
  console.log(`     ${name.padEnd(28)} n ${String(n).padStart(4)}   min/median/p99 ms${numbers}`)
}

/** Product and engine in turn, one pair a second at the most. */
const inTurn = async (
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

/** Medians of what the agent logged of its calls so far, in ms, and what is left of the whole. */
const stagesOf = (output: string, whole: Figures) => {
  const ended = output
    .split('\n')
    .filter((line) => line.includes('"call ended"') && line.includes('"startMs"'))
    .slice(-whole.n)
    .map((line) => JSON.parse(line) as { startMs: number; runMs: number })
  const containerMs = figuresOf(ended.map(({ startMs }) => startMs)).median
  const runMs = figuresOf(ended.map(({ runMs: ms }) => ms)).median
  return { containerMs, runMs, restMs: whole.median - containerMs - runMs }
}

/** Calls at random moments, so many a second in the mean. */
const steady = async (
  bench: Bench,
  func: TestFunc,
  perSecond: number,
): Promise<readonly number[]> => {
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

const saturated = async (bench: Bench, func: TestFunc, callers: number): Promise<number> => {
  const untilMs = performance.now() + SATURATED_MS
  let calls = 0
  const work = async (): Promise<void> => {
    while (performance.now() < untilMs) {
      await call(bench, func)
      calls += 1
    }
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: callers }, work))
  return calls / ((performance.now() - start) / 1000)
}

const measure = async (bench: Bench) => {
  const { deployment, raw } = bench
  const echo = await createFunc(deployment.context, 'echo', 'ubuntu', ECHO)
  const cat = await createFunc(deployment.context, 'cat', 'ubuntu', CAT)

  const echoes = await inTurn(bench, echo, ROUNDS)
  show('engine, echo', echoes.raw)
  show('engine, until its last byte', echoes.rawLastByte)
  show('product, echo', echoes.product)
  const stages = stagesOf(deployment.output(), echoes.product)
  console.log(
    `     of which a container ${stages.containerMs.toFixed(1)}, in it ${stages.runMs.toFixed(1)}, gateway, ledger, mesh and commits ${stages.restMs.toFixed(1)} ms`,
  )
  check('engine to product, echo', echoes.raw.median / echoes.product.median, {
    min: ECHO_RATIO_MIN,
  })

  const megabytes = await inTurn(bench, cat, MEGABYTE_ROUNDS, MEGABYTE)
  show('engine, 1 MB', megabytes.raw)
  show('product, 1 MB', megabytes.product)
  check('engine to product, 1 MB', megabytes.raw.median / megabytes.product.median, {
    min: MEGABYTE_RATIO_MIN,
  })

  const rates: Record<string, Figures & { readonly misses: number }> = {}
  for (const perSecond of [1, 2, 3]) {
    const took = await steady(bench, echo, perSecond)
    const misses =
      took.filter((ms) => ms > MISS_SHARE * echoes.raw.median).length / Math.max(1, took.length)
    rates[perSecond] = { ...figuresOf(took), misses }
    show(`product, ${perSecond} a second`, figuresOf(took))
    check(`share of calls without a ready one, ${perSecond} a second`, misses, { max: MISSES_MAX })
  }

  // The first one is seen; the next ones are ready.
  const bursts: number[] = []
  const before = { ready: await readyNow(bench), bytes: await availableBytes() }
  for (let times = -1; times < BURSTS; times += 1) {
    const rate = await burst(bench, echo)
    if (times >= 0) bursts.push(rate)
    await eventually(
      async () => (await readyNow(bench)) >= BURST,
      120_000,
      () => 'the pool is not filled',
    )
    await untilIdle(bench)
  }
  const burstRate = figuresOf(bursts).median
  check('calls a second of a burst of 50', burstRate, { min: BURST_RATE_MIN })
  const more = (await readyNow(bench)) - before.ready
  const readyMiB = (before.bytes - (await availableBytes())) / more / 2 ** 20
  check('MiB of one that stands ready', readyMiB, { max: READY_MIB_MAX })
  const cpuPerReady = (await idleCpu()) / (await readyNow(bench))
  check('ms of CPU a second of one that stands ready', cpuPerReady, { max: READY_CPU_MS_MAX })

  const sandboxed = await createFunc(deployment.context, 'sandboxed', 'ubuntu', ECHO, {
    ...{ Runtime: 'runsc', HostConfig: { NetworkMode: 'none' } },
  })
  const inSandbox: number[] = []
  for (let round = -WARM_UP; round < SANDBOX_ROUNDS; round += 1) {
    await untilIdle(bench)
    const ms = await timed(() => call(bench, sandboxed))
    if (round >= 0) inSandbox.push(ms)
  }
  const sandbox = figuresOf(inSandbox)
  show('product, echo under gVisor', sandbox)
  check('ms of a call under gVisor', sandbox.median, { max: SANDBOX_MS_MAX })

  const rawBest = Math.max(
    await raw.best(ECHO, 4, SATURATED_MS / 4),
    await raw.best(ECHO, 8, SATURATED_MS / 4),
  )
  const productBest = await saturated(bench, echo, 8)
  const rawAfter = Math.max(rawBest, await raw.best(ECHO, 4, SATURATED_MS / 4))
  console.log(
    `     saturated: engine ${rawAfter.toFixed(2)}, product ${productBest.toFixed(2)} calls a second`,
  )
  check('product to engine, saturated', productBest / rawAfter, { min: SATURATED_RATIO_MIN })
  return {
    echoes,
    stages,
    megabytes,
    rates,
    ...{ burstRate, readyMiB, cpuPerReady, sandbox },
    saturated: { engine: rawAfter, product: productBest },
  }
}

const dir = await mkdtemp('/tmp/hyper-bench-')
try {
  process.env.TMPDIR = dir
  await ensurePackages(
    [...ENGINE_NEEDS, ...COMPILER_NEEDS, ...IMAGE_NEEDS, ...RUNTIME_NEEDS],
    console.log,
  )
  const runsc = (await findCommand('runsc')) ?? ''
  const workbench = await startWorkbench({
    dir,
    runtimes: { runsc: { path: runsc, runtimeArgs: ['--network=none'] } },
  })
  Object.assign(process.env, workbench.environment)
  const { docker, close } = connectDocker(workbench.environment.HYPER_TEST_DOCKER_SOCKET)
  try {
    const deployment = await startDeployment([
      ...'--ready 64 --slots 50 --memory 32g --quota 100'.split(' '),
    ])
    try {
      const raw = createRawEngine(docker, workbench.environment.HYPER_TEST_INIT_DIR)
      await keepResults('latency', await measure({ docker, raw, deployment }))
    } finally {
      await deployment.stop()
    }
  } finally {
    close()
    await workbench.stop()
  }
  if (isBroken) process.exitCode = 1
} finally {
  await rm(dir, { recursive: true, force: true })
}
