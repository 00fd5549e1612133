/**
 * How much of the slots is used: 1,000 agents and 100,000 calls of varied run times in the
 * simulation, without faults. What is measured is virtual: the time integral of leases over usable
 * slots, from the ramp-up to the grant of the last call. Prints it with calls a second of real time;
 * keeps it in bench/results/simulation.json. Exits 1 where less than 95 % is used.
 *
 * `node bench/simulation.ts [AGENTS CALLS]`
 */

import { SIZES } from '../protocol/func.ts'
import type { History } from '../test/simulation/history.ts'
import { shapeOf } from '../test/simulation/profile.ts'
import { createRandom } from '../test/simulation/random.ts'
import { createScheduler } from '../test/simulation/scheduler.ts'
import { encodeInput } from '../test/simulation/workload.ts'
import { createWorld } from '../test/simulation/world.ts'
import { keepResults } from './report.ts'

const USED_MIN = 0.95
const RAMPED_UP = 0.98
/** Requests that come together. */
const CROWD = 500

const [agents = 1000, calls = 100_000] = process.argv.slice(2).map(Number)

const random = createRandom(1)
const scheduler = createScheduler(1_000)
const nobody: History = { observations: [], record: () => undefined }
const shape = {
  ...shapeOf(random, 'calm'),
  ...{ agents, accounts: 1, isLarge: true, paceMs: 1_000, readMs: 0, writeMs: 1 },
}
const world = await createWorld({
  ...{ scheduler, random, shape, history: nobody },
  witness: () => undefined,
})
const core = world.main().rooms()?.core
const [func] = world.clients.funcs
if (core === undefined || func === undefined) throw new Error('the mesh did not begin')
const { ledger } = core

const isConnected = (): boolean =>
  [...ledger.agents.values()].filter(({ session }) => session !== 0).length === agents
await scheduler.run(isConnected, scheduler.nowMs() + 600_000)
const usable = [...ledger.agents.values()].reduce(
  (sum, { hello }) =>
    sum + Math.min(hello.slots, Math.floor(hello.memoryBytes / SIZES.s1.memoryBytes)),
  0,
)
core.transactions.apply({ type: 'quota', accountId: func.accountId, quota: 2 * usable })

let told = 0
let left = calls
const submit = (): void => {
  for (let one = 0; one < CROWD && left > 0; one += 1) {
    left -= 1
    const runMs = random.between(2_000, 40_000)
    const run = { runMs, end: 'exit', exitCode: 0, outputBytes: 0 } as const
    const op = world.gateway.nextOp()
    const input = encodeInput({ op, runs: [run] }, 0)
    world.gateway.call(op, func.funcId, func.accountId, input).then((callId) => {
      if (callId !== null) told += 1
    }, undefined)
  }
  if (left > 0) scheduler.after(10, submit)
}
submit()

let areaMs = 0
let spanMs = 0
let lastMs = scheduler.nowMs()
let leases = 0
let isFull = false
let isAllGranted = false
const account = ledger.accounts.get(func.accountId)
scheduler.watch(() => {
  const nowMs = scheduler.nowMs()
  if (isFull && !isAllGranted) {
    areaMs += leases * (nowMs - lastMs)
    spanMs += nowMs - lastMs
  }
  lastMs = nowMs
  leases = ledger.leases.size
  isFull ||= leases >= RAMPED_UP * usable
  isAllGranted ||= told === calls && account?.waiting === 0
})
const began = performance.now()
await scheduler.run(() => told === calls && ledger.calls.size === 0, 100 * 3_600_000)
const seconds = (performance.now() - began) / 1000
world.main().kill()

const used = areaMs / (spanMs * usable)
const figures = {
  ...{ agents, calls, usableSlots: usable, used: Math.round(used * 10_000) / 10_000 },
  virtualSeconds: Math.round(spanMs / 1000),
  ...{ realSeconds: Math.round(seconds), callsPerRealSecond: Math.round(calls / seconds) },
  acts: scheduler.acts(),
}
console.log(
  `${agents} agents, ${calls} calls: ${(100 * used).toFixed(2)} % of ${usable} slots used over ${figures.virtualSeconds} s of virtual time; ${figures.callsPerRealSecond} calls a second of real time`,
)
await keepResults('simulation', figures)
process.exit(used >= USED_MIN ? 0 : 1)
