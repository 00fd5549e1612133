/** Seeds over threads: as many side by side as there are processors. */

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Failure } from './checker.ts'

export interface Task {
  readonly from: number
  /** Up to, not with. */
  readonly to: number
  readonly step: number
  readonly profile: string | null
  /** The name of a planted bug. */
  readonly planted: string | null
  readonly isEndingAtFailure: boolean
}

export interface Report {
  readonly seed: number
  readonly profile: string
  readonly failure: Failure | null
  readonly acts: number
  readonly virtualMs: number
  readonly faults: number
  readonly hasRestart: boolean
  readonly hasAside: boolean
}

/** Runs one task in a thread of its own. */
export const runTask = (task: Task, onReport: (report: Report) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL('worker.ts', import.meta.url), { workerData: task })
    worker.on('message', onReport)
    worker.once('error', reject)
    worker.once('exit', () => resolve())
  })

/** Of one thread. */
const THREAD_SEEDS = 1000

/** Runs seeds over all processors. */
export const runSeeds = async (
  from: number,
  to: number,
  onReport: (report: Report) => void,
): Promise<void> => {
  const common = { step: 1, profile: null, planted: null, isEndingAtFailure: false }
  const acts: (() => Promise<void>)[] = []
  for (let first = from; first < to; first += THREAD_SEEDS) {
    const task: Task = { ...common, from: first, to: Math.min(first + THREAD_SEEDS, to) }
    acts.push(() => runTask(task, onReport))
  }
  await inTurns(acts)
}

/** Does the acts, so many at once as there are processors. */
export const inTurns = async (acts: readonly (() => Promise<void>)[]): Promise<void> => {
  const left = [...acts]
  const work = async (): Promise<void> => {
    for (let act = left.shift(); act !== undefined; act = left.shift()) await act()
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
}

export const replayLine = ({ seed, failure }: Pick<Report, 'seed' | 'failure'>): string =>
  `seed ${seed}: ${failure?.invariant}: ${failure?.message} – replay with: npm run simulate -- ${seed}`
