/**
 * A thread that runs seeds: with the shipped source, or with one fault planted in it. It tells of
 * each seed as it ends, and of the first failure ends itself where it is asked to.
 */

import { parentPort, workerData } from 'node:worker_threads'
import { PLANTED, plant } from './planted.ts'
import type { Report, Task } from './pool.ts'

const task: Task = workerData
// Refusals and broken lines are errors, thousands of them a second: who reads their stacks replays.
Error.stackTraceLimit = 0
// Nothing in a world goes by real time, and a real timer would keep its whole world for a minute.
AbortSignal.timeout = () => new AbortController().signal
const bug = PLANTED.find(({ name }) => name === task.planted)
if (bug !== undefined) plant(bug)
// Loaded only now, so that the fault is in it.
const { runSeed } = await import('./run.ts')

const faultsOf = (observations: readonly { readonly type: string }[]): number =>
  observations.filter(({ type }) => type === 'fault').length

for (let seed = task.from; seed < task.to; seed += task.step) {
  const { profile, failure, acts, virtualMs, observations } = await runSeed(seed, task.profile)
  const kinds = new Set(observations.map(({ type }) => type))
  const report: Report = {
    ...{ seed, profile, failure, acts, virtualMs },
    faults: faultsOf(observations),
    hasRestart: observations.filter(({ type }) => type === 'coordinator').length > 2,
    hasAside: kinds.has('aside'),
  }
  parentPort?.postMessage(report)
  if (failure !== null && task.isEndingAtFailure) break
}
