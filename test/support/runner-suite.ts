/**
 * What every runner must keep, whatever starts its containers. Run it with a runner of your own:
 * `testRunner(name, open)`. Every test ends with a look at the host: nothing of it is left.
 */

import { after, afterEach, before, describe } from 'node:test'
import type { Runner } from '../../agent/runner/runner.ts'
import { eventually } from './eventually.ts'
import { soon } from './runner-call.ts'
import { testFences } from './runner-fences.ts'
import { testLeaving } from './runner-leaving.ts'
import { testLife } from './runner-life.ts'
import { testProgram } from './runner-program.ts'

export interface RunnerBench {
  readonly runner: Runner
  /** A second runner of the same identity: as the next process of the agent has it. */
  reopen(): Promise<Runner>
  /** A runner of another agent on the same host. */
  readonly foreign: Runner
  readonly images: RunnerImages
  /** What of both agents' containers is on the host: one line for each thing. */
  leftovers(): Promise<readonly string[]>
  close(): Promise<void>
}

/** The engine's ids of test images (images.ts). */
export interface RunnerImages {
  readonly ubuntu: string
  readonly configured: string
  readonly static: string
}

const removeAll = async (runner: Runner): Promise<void> => {
  for (const { id } of await runner.list(soon())) await runner.remove(id, soon())
}

type RunnerTests = (open: () => Promise<RunnerBench>) => void

/** `skip`: why it cannot run here. */
export const testRunner = (
  name: string,
  open: () => Promise<RunnerBench>,
  skip: string | false = false,
  parts: readonly RunnerTests[] = [testLife, testProgram, testFences, testLeaving],
): void => {
  describe(name, { skip }, () => {
    const opened = Promise.withResolvers<RunnerBench>()
    before(async () => {
      open().then(opened.resolve, opened.reject)
      await opened.promise
    })
    afterEach(async () => {
      const bench = await opened.promise
      let left: readonly string[] = []
      const isGone = async (): Promise<boolean> => {
        left = await bench.leftovers()
        return left.length === 0
      }
      try {
        await eventually(isGone, 10_000, () => `left behind:\n${left.join('\n')}`)
      } finally {
        // Each test is judged by what it leaves itself.
        await removeAll(bench.runner)
        await removeAll(bench.foreign)
      }
    })
    after(async () => {
      const bench = await opened.promise
      await bench.close()
    })
    for (const part of parts) part(() => opened.promise)
  })
}
