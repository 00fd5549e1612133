/** The measurements of mesh.ts, in the coordinator's namespace. */

import { tmpdir } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { createClient } from '../client/client.ts'
import type { CoordinatorConfig } from '../protocol/daemon.ts'
import { configFor } from '../test/support/coordinator.ts'
import { type Context, readContext } from '../test/support/deployment.ts'
import { IMAGE } from '../test/support/fake-ports.ts'
import { callSync, createFunc, type TestFunc } from '../test/support/functions.ts'
import { type Coordinator, startCoordinatorProcess } from './mesh-coordinator.ts'
import { type Herd, nowMs, startHerd } from './mesh-herd.ts'
import { ADDRESS, layWire, type Wire } from './mesh-wire.ts'
import { check, keepResults, show } from './report.ts'
import { figuresOf } from './statistics.ts'

const AGENTS = Number(process.env.BENCH_AGENTS ?? 1000)
const PROCESSES = 4
const FEW = 10
const CALLS = 300
const WARM_UP = 100
const IDLE_MS = 60_000
/** Adverts, heartbeats and what was put off by the joining have found their pace. */
const SETTLE_MS = 20_000
const AWAY_MS = 5000
const RETURN_MS_MAX = 120_000
const TICKET_MS = 3_600_000
const PROBE_MS = 200
const CPU_LOOK_MS = 500
const TENTH_MS = 100

const IDLE_BYTES_MAX = 1000
const CPU_MAX = 0.35
const MEMORY_MIB_MAX = 400
/** The thousand share the machine with the coordinator: what they do idle takes from the call's two cores. */
const CALL_RATIO_MAX = 3
/** An agent is to be back so soon after the coordinator's return. */
const REDIAL_MS = 1500
/**
 * Of what a connection took while they joined, two each: all wait at once for their turns, those that
 * waited in vain come again, and both ends of a thousand are on this machine.
 */
const STORM_MARGIN = 2.5
/** Not at once: all within a second would be a tenth. */
const DENSEST_MAX = 0.2

const folder = tmpdir()
const logPath = `${folder}/coordinator.log`
const config: CoordinatorConfig = {
  ...configFor(folder),
  mesh: [`/ip4/${ADDRESS}/tcp/7481`],
  quota: 100,
}

const calls = async (context: Context, func: TestFunc, count: number) => {
  const took: number[] = []
  for (let at = -WARM_UP; at < count; at += 1) {
    const start = performance.now()
    const answer = await callSync(context, func, `call ${at}`)
    const said = await answer.text()
    if (said !== `call ${at}`) throw new Error(`call ${at} was answered ${answer.status}: ${said}`)
    if (at >= 0) took.push(performance.now() - start)
  }
  return figuresOf(took)
}

/**
 * How long the gateway takes to answer what asks nothing of it, which is its event loop seen from
 * outside, and the most cores that it took for half a second.
 */
const watch = (coordinator: Coordinator) => {
  const took: number[] = []
  let cpuPeak = 0
  let isOver = false
  const ask = async (): Promise<void> => {
    while (!isOver) {
      const start = performance.now()
      await fetch(`${coordinator.url}/healthz`).then((answer) => answer.bytes())
      took.push(performance.now() - start)
      await pause(PROBE_MS)
    }
  }
  const look = async (): Promise<void> => {
    while (!isOver) {
      const [cpuMs, start] = [await coordinator.cpuMs(), nowMs()]
      await pause(CPU_LOOK_MS)
      cpuPeak = Math.max(cpuPeak, ((await coordinator.cpuMs()) - cpuMs) / (nowMs() - start))
    }
  }
  const watching = Promise.all([ask(), look()])
  return {
    async end() {
      isOver = true
      await watching
      return { gateway: figuresOf(took), cpuPeak }
    },
  }
}

const measureIdle = async (coordinator: Coordinator, herd: Herd, wire: Wire) => {
  await pause(SETTLE_MS)
  const [before, cpuBefore, start] = [await wire.traffic(), await coordinator.cpuMs(), nowMs()]
  const watching = watch(coordinator)
  const { dials } = await herd.watch(IDLE_MS)
  const { gateway } = await watching.end()
  const [after, cpuAfter, end] = [await wire.traffic(), await coordinator.cpuMs(), nowMs()]
  const per = ((end - start) / 1000) * AGENTS
  const { now } = await coordinator.memoryMiB()
  const figures = {
    bytesPerSecond: (after.bytes - before.bytes) / per,
    packetsPerSecond: (after.packets - before.packets) / per,
    cpu: (cpuAfter - cpuBefore) / (end - start),
    memoryMiB: now,
    redials: dials.length,
    gateway,
  }
  show('gateway meanwhile', gateway)
  console.log(`     packets a second of an idle agent: ${figures.packetsPerSecond.toFixed(2)}`)
  check('bytes a second of an idle agent', figures.bytesPerSecond, { max: IDLE_BYTES_MAX })
  check('cores that the coordinator takes', figures.cpu, { max: CPU_MAX })
  check('agents that dialled anew meanwhile', figures.redials, { max: 0 })
  return figures
}

/** The most that arrived within such a time. */
const densest = (times: readonly number[], withinMs: number): number => {
  let most = 0
  let first = 0
  times.forEach((time, last) => {
    while (time - (times[first] ?? time) > withinMs) first += 1
    most = Math.max(most, last - first + 1)
  })
  return most
}

/** Kills it, and starts it again: what its agents' return takes. */
const measureStorm = async (coordinator: Coordinator, herd: Herd, connectionMs: number) => {
  const returned = herd.return(RETURN_MS_MAX)
  await coordinator.kill()
  await pause(AWAY_MS)
  const startedMs = nowMs()
  const again = await startCoordinatorProcess(config, logPath)
  const readyMs = nowMs()
  const watching = watch(again)
  const { dials, welcomes, missing } = await returned
  const { gateway, cpuPeak } = await watching.end()
  const since = (ms = Number.NaN): number => ms - readyMs
  const figures = {
    startMs: readyMs - startedMs,
    firstBackMs: since(welcomes[0]),
    halfBackMs: since(welcomes[Math.floor(welcomes.length / 2)]),
    allBackMs: missing === 0 ? since(welcomes.at(-1)) : Number.NaN,
    missing,
    /** Of a single try of all. */
    dialsEach: dials.filter((ms) => ms > readyMs).length / AGENTS,
    densestTenth: densest(welcomes, TENTH_MS) / AGENTS,
    cpuMsEach: (await again.cpuMs()) / AGENTS,
    cpuPeak,
    gateway,
    groundMs: AGENTS * connectionMs,
  }
  const { firstBackMs, halfBackMs, allBackMs } = figures
  const seconds = [firstBackMs, halfBackMs, allBackMs].map((ms) => (ms / 1000).toFixed(1))
  console.log(`     after its return the first, half, all are back: ${seconds.join(', ')} s`)
  console.log(
    `     ${figures.dialsEach.toFixed(2)} dials, ${figures.cpuMsEach.toFixed(1)} ms of its CPU each; ${cpuPeak.toFixed(2)} cores at the most`,
  )
  show('gateway meanwhile', gateway)
  const allowed = REDIAL_MS + STORM_MARGIN * figures.groundMs
  check('agents that are not back', missing, { max: 0 })
  check('ms until all are back', allBackMs, { max: allowed })
  check('share of them that was back within one tenth of a second', figures.densestTenth, {
    max: DENSEST_MAX,
  })
  return { again, figures }
}

const wire = await layWire()
const herd = startHerd(wire.namespace, PROCESSES)
let coordinator = await startCoordinatorProcess(config, logPath)
try {
  const context = await readContext(folder)
  const client = createClient(context)
  const { ticket } = await client.invite({ uses: AGENTS, expiresMs: TICKET_MS })

  await herd.join(ticket, FEW)
  const func = await createFunc(context, 'echo', IMAGE.reference, ['cat'])
  const few = await calls(context, func, CALLS)
  show(`call, ${FEW} agents`, few)

  const joinStart = nowMs()
  const cpuStart = await coordinator.cpuMs()
  const { enrolmentsFailed } = await herd.join(ticket, AGENTS - FEW)
  const joinMs = nowMs() - joinStart
  const connectionMs = joinMs / (2 * (AGENTS - FEW))
  const joinCpuMs = ((await coordinator.cpuMs()) - cpuStart) / (AGENTS - FEW)
  console.log(
    `     ${AGENTS - FEW} joined in ${(joinMs / 1000).toFixed(1)} s, ${joinCpuMs.toFixed(1)} ms of the coordinator's CPU each; ${enrolmentsFailed} tried again`,
  )

  const idle = await measureIdle(coordinator, herd, wire)
  const many = await calls(context, func, CALLS)
  show(`call, ${AGENTS} agents`, many)
  check('call, median, to that with few', many.median / few.median, { max: CALL_RATIO_MAX })
  const { peak } = await coordinator.memoryMiB()

  const { again, figures: storm } = await measureStorm(coordinator, herd, connectionMs)
  coordinator = again
  const afterStorm = await coordinator.memoryMiB()
  check('MiB that the coordinator takes at the most', Math.max(peak, afterStorm.peak), {
    max: MEMORY_MIB_MAX,
  })
  await keepResults('mesh', {
    agents: AGENTS,
    processes: PROCESSES,
    join: { ms: joinMs, cpuMsEach: joinCpuMs, triedAgain: enrolmentsFailed },
    idle,
    calls: { few, many },
    storm,
    memoryMiB: { first: peak, second: afterStorm.peak },
  })
} finally {
  await herd.close()
  await coordinator.kill()
  await wire.close()
}
