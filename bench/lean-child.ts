/** The measurements of lean.ts, each beside the engine's own in the same run. */

import { setTimeout as pause } from 'node:timers/promises'
import type Docker from 'dockerode'
import { type Deployment, startDeployment } from '../test/support/deployment.ts'
import { connectDocker } from '../test/support/docker.ts'
import { createFunc, type TestFunc } from '../test/support/functions.ts'
import { call, timed } from './deployed.ts'
import { burst, callMany, onTheHost, saturatedBeside } from './lean-steps.ts'
import { createRawEngine, type RawEngine } from './raw-engine.ts'
import { check, keepResults, show } from './report.ts'
import { figuresOf } from './statistics.ts'

const COLD_ROUNDS = 20
const POOLED_ROUNDS = 30
const SATURATED_MS = 60_000
const CALLS = Number(process.env.BENCH_CALLS ?? 10_000)
/** Refills and removals are over by then. */
const STILL_MS = 1500
const WARM_UP = 5

const SATURATED_RATIO_MIN = 5
const COLD_RATIO_MIN = 4
/** 40 calls a second, on a machine whose engine does 8.6 at its best: compared as a part of that. */
const BURST_RATIO_MIN = 40 / 8.6
/** "As good": medians of the two differ by chance. */
const POOLED_RATIO_MIN = 0.9
const MEMORY_GROWTH_MAX = 1.15

const ECHO = ['echo', 'hello']
const COMMON = ['--slots', '50', '--memory', '32g', '--quota', '1000']

interface Product {
  readonly deployment: Deployment
  readonly echo: TestFunc
}

const withProduct = async <T>(
  args: readonly string[],
  act: (product: Product) => Promise<T>,
): Promise<T> => {
  const deployment = await startDeployment([...COMMON, ...args])
  try {
    const echo = await createFunc(deployment.context, 'echo', 'ubuntu', ECHO)
    return await act({ deployment, echo })
  } finally {
    await deployment.stop()
  }
}

const rounds = async (count: number, act: () => Promise<number>): Promise<readonly number[]> => {
  const took: number[] = []
  for (let round = -WARM_UP; round < count; round += 1) {
    await pause(STILL_MS)
    const ms = await act()
    if (round >= 0) took.push(ms)
  }
  return took
}

const measureEmpty = (docker: Docker, raw: RawEngine) =>
  withProduct(['--runner', 'oci', '--ready', '0'], async ({ deployment, echo }) => {
    const bench = { docker, raw, deployment }
    const own: number[] = []
    const product = await rounds(COLD_ROUNDS, async () => {
      own.push((await raw.call(ECHO)).wholeMs)
      await pause(STILL_MS)
      return timed(() => call(bench, echo))
    })
    const cold = { raw: figuresOf(own.slice(WARM_UP)), product: figuresOf(product) }
    show('engine, cold', cold.raw)
    show('product, cold', cold.product)
    check('engine to product, cold', cold.raw.median / cold.product.median, { min: COLD_RATIO_MIN })

    const perSecond = await burst(bench, echo, 200)
    const saturated = await saturatedBeside(bench, echo, SATURATED_MS)
    console.log(
      `     engine at its best ${saturated.engine.perSecond.toFixed(2)} a second, ${saturated.engine.cpuMs.toFixed(0)} ms of CPU a call`,
    )
    console.log(
      `     product            ${saturated.product.perSecond.toFixed(2)} a second, ${saturated.product.cpuMs.toFixed(0)} ms of CPU a call`,
    )
    const ratio = saturated.product.perSecond / saturated.engine.perSecond
    check('product to engine, saturated', ratio, { min: SATURATED_RATIO_MIN })
    const toHighest = saturated.product.perSecond / saturated.highest.perSecond
    console.log(`     … to the highest of the engine's four figures: ${toHighest.toFixed(2)}`)
    check('memory, last third to second', saturated.memoryGrowth, { max: MEMORY_GROWTH_MAX })
    console.log(`     burst of 200 onto an empty pool: ${perSecond.toFixed(2)} a second`)
    check('… to the engine’s best', perSecond / saturated.highest.perSecond, {
      min: BURST_RATIO_MIN,
    })
    return { cold, burst: perSecond, saturated }
  })

const measurePooled = (docker: Docker, raw: RawEngine, runner: 'docker' | 'oci') =>
  withProduct(['--runner', runner], async ({ deployment, echo }) => {
    const bench = { docker, raw, deployment }
    const figures = figuresOf(await rounds(POOLED_ROUNDS, () => timed(() => call(bench, echo))))
    show(`product, pooled, ${runner}`, figures)
    return figures
  })

const measureMany = async () => {
  const before = await onTheHost()
  const perSecond = await withProduct(['--runner', 'oci'], ({ deployment }) =>
    callMany(deployment, CALLS),
  )
  console.log(`     ${CALLS} calls, each answered right: ${perSecond.toFixed(2)} a second`)
  const after = await onTheHost()
  for (const [what, count] of Object.entries(after)) {
    check(`${what} more than before`, count - (before[what] ?? 0), { max: 0 })
  }
  return { calls: CALLS, perSecond, before, after }
}

const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
try {
  const raw = createRawEngine(docker, process.env.HYPER_TEST_INIT_DIR ?? '')
  const empty = await measureEmpty(docker, raw)
  const pooled = {
    docker: await measurePooled(docker, raw, 'docker'),
    oci: await measurePooled(docker, raw, 'oci'),
  }
  check('docker runner to OCI runner, pooled', pooled.docker.median / pooled.oci.median, {
    min: POOLED_RATIO_MIN,
  })
  // Many take long: what is known is kept, should they be ended by hand.
  await keepResults('lean', { ...empty, pooled })
  const many = await measureMany()
  await keepResults('lean', { ...empty, pooled, many })
} finally {
  close()
}
