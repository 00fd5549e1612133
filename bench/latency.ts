/**
 * What a call costs, beside the raw engine's own price in the same run (raw-engine.ts).
 *
 * ground    what the engine does at its best: more calls a second than that find none ready whatever
 *           one does, and are not tried
 * echo      a synchronous call, one a second: gateway, ledger, mesh, agent, fresh container, and back;
 *           where its time goes, by the agent's own log
 * megabyte  the same with 1 MB in and 1 MB out
 * steady    1, 2 and 3 calls a second, at random moments: how many found no container ready, and what
 *           gateway, ledger and mesh added to the agent's own time
 * burst     50 at once onto 50 that stand ready
 * ready     what one that stands ready costs while nothing happens (idle-cost.ts), beside one of the
 *           engine's own
 * sandbox   a call under gVisor, a kernel of its own
 * saturated callers without a pause, for a minute: calls a second, and the daemons' memory
 *
 * Prints n, minimum, median, p99 and ratios; keeps them, with the machine, in
 * bench/results/latency.json. Exits 1 where a bound is broken.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import {
  COMPILER_NEEDS,
  ENGINE_NEEDS,
  ensurePackages,
  findCommand,
} from '../cli/setup/engine-install.ts'
import { startDeployment } from '../test/support/deployment.ts'
import { connectDocker } from '../test/support/docker.ts'
import { RUNTIME_NEEDS } from '../test/support/engine.ts'
import { createFunc } from '../test/support/functions.ts'
import { IMAGE_NEEDS } from '../test/support/images.ts'
import { startWorkbench } from '../test/support/workbench.ts'
import { type Bench, call } from './deployed.ts'
import {
  bursts,
  engineReadyMiB,
  inTurn,
  saturated,
  stagesOf,
  steady,
  underSandbox,
} from './latency-steps.ts'
import { createRawEngine } from './raw-engine.ts'
import { check, keepResults, show } from './report.ts'
import { figuresOf } from './statistics.ts'

const ROUNDS = 40
const MEGABYTE_ROUNDS = 15
const SANDBOX_ROUNDS = 15
const SATURATED_MS = 60_000
const GROUND_MS = 15_000

const ECHO_RATIO_MIN = 25
const MEGABYTE_RATIO_MIN = 5
const MISSES_MAX = 0.02
/**
 * What the engine's echo took where goals in ms were set. They are compared as parts of what it takes
 * here, in the same run: 40 ms of 210 are 200 of 1050.
 */
const ENGINE_MS = 210
/** What gateway, ledger and mesh may add to the agent's own time. */
const ADDED_PART_MAX = 5 / ENGINE_MS
const BURST_RATE_MIN = (150 * ENGINE_MS) / 1000
const SATURATED_RATIO_MIN = 0.95
const MEMORY_GROWTH_MAX = 1.15
/** Beyond what a waiting container of the engine's own takes, whatever is in it. */
const READY_MORE_MIB_MAX = 0.5
/** Two parts in a thousand of one processor. */
const READY_CPU_MS_MAX = 2
const SANDBOX_RATIO_MIN = ENGINE_MS / 40
/** A call that took longer than this part of the engine's own found no container ready. */
const MISS_SHARE = 0.5

const MEGABYTE = new Uint8Array(1024 * 1024).fill(120)
const ECHO = ['echo', 'hello']
const CAT = ['cat']

/** The engine's own best, with 4 and 8 callers. */
const bestOf = async ({ raw }: Bench): Promise<number> =>
  Math.max(await raw.best(ECHO, 4, GROUND_MS), await raw.best(ECHO, 8, GROUND_MS))

const measure = async (bench: Bench) => {
  const { deployment } = bench
  const echo = await createFunc(deployment.context, 'echo', 'ubuntu', ECHO)
  const cat = await createFunc(deployment.context, 'cat', 'ubuntu', CAT)

  const groundBefore = await bestOf(bench)
  console.log(`     engine at its best: ${groundBefore.toFixed(2)} calls a second`)
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

  const rates: Record<string, object> = {}
  for (const perSecond of [1, 2, 3]) {
    if (perSecond > groundBefore) {
      console.log(`     ${perSecond} a second: more than this engine can start, not tried`)
      rates[perSecond] = { forbiddenBy: groundBefore }
      continue
    }
    const took = await steady(bench, echo, perSecond)
    const figures = figuresOf(took)
    const missed = took.filter((ms) => ms > MISS_SHARE * echoes.raw.median).length
    const misses = missed / Math.max(1, took.length)
    const { restMs } = stagesOf(deployment.output(), figures)
    rates[perSecond] = { ...figures, misses, restMs }
    show(`product, ${perSecond} a second`, figures)
    check(`share of calls without a ready one, ${perSecond} a second`, misses, { max: MISSES_MAX })
    console.log(`     of which gateway, ledger, mesh and commits ${restMs.toFixed(1)} ms`)
    const added = restMs / echoes.raw.median
    check(`… as a part of the engine's echo`, added, { max: ADDED_PART_MAX })
  }

  const burst = await bursts(bench, echo)
  console.log(`     burst of 50 onto 50 ready ones: ${burst.perSecond.toFixed(1)} calls a second`)
  const perEcho = (burst.perSecond * echoes.raw.median) / 1000
  check('calls of it in the time of one echo of the engine', perEcho, { min: BURST_RATE_MIN })
  const engineMiB = await engineReadyMiB(bench)
  console.log(
    `     one that stands ready ${burst.readyMiB.toFixed(2)} MiB, one of the engine's own that waits ${engineMiB.toFixed(2)}`,
  )
  check('MiB of it beyond that', burst.readyMiB - engineMiB, { max: READY_MORE_MIB_MAX })
  check('ms of CPU a second of one that stands ready', burst.readyCpuMs, { max: READY_CPU_MS_MAX })

  const sandboxed = await createFunc(deployment.context, 'sandboxed', 'ubuntu', ECHO, {
    ...{ Runtime: 'runsc', HostConfig: { NetworkMode: 'none' } },
  })
  const sandbox = await underSandbox(bench, sandboxed, SANDBOX_ROUNDS)
  show('product, echo under gVisor', sandbox)
  check('engine to product under gVisor, echo', echoes.raw.median / sandbox.median, {
    min: SANDBOX_RATIO_MIN,
  })

  const before = await bestOf(bench)
  const product = await saturated(bench, () => call(bench, echo), 8, SATURATED_MS)
  const engine = Math.max(before, await bestOf(bench))
  console.log(
    `     saturated: engine ${engine.toFixed(2)}, product ${product.perSecond.toFixed(2)} calls a second`,
  )
  check('product to engine, saturated', product.perSecond / engine, { min: SATURATED_RATIO_MIN })
  check('memory, last third to second', product.memoryGrowth, { max: MEMORY_GROWTH_MAX })
  return {
    ...{ groundBefore, echoes, stages, megabytes, rates, burst, engineMiB, sandbox },
    saturated: { engine, ...product },
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
} finally {
  await rm(dir, { recursive: true, force: true })
}
