/**
 * The lean way to start containers: the OCI runner beside the raw engine's own price (raw-engine.ts) and beside the docker runner, in one
 * run, with the same fence and with a network: sets up an engine, and measures (lean-child.ts) in that
 * engine's network namespace, as an agent on the engine's host would be.
 *
 * cold        a call that finds no container ready, and the engine's own, in turn
 * burst       200 at once onto an empty pool
 * saturated   callers without a pause, for a minute, beside the engine's best before and after: calls a
 *             second, CPU of the whole machine a call, memory of the daemons
 * pooled      an echo onto a container that stands ready, by each of the two runners
 * many        10,000 calls, each with words of its own; what is on the host before and after
 *
 * `-- lean` runs all of it, about half an hour; BENCH_CALLS says how many calls `many` makes. Prints
 * figures and ratios, keeps them in bench/results/lean.json, exits 1 where a bound is broken.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { COMPILER_NEEDS, ENGINE_NEEDS, ensurePackages } from '../cli/setup/engine-install.ts'
import { findNamespace } from '../test/support/engine-network.ts'
import { IMAGE_NEEDS } from '../test/support/images.ts'
import { startWorkbench } from '../test/support/workbench.ts'

const CHILD = fileURLToPath(new URL('lean-child.ts', import.meta.url))

const dir = await mkdtemp('/tmp/hyper-bench-')
try {
  process.env.TMPDIR = dir
  await ensurePackages([...ENGINE_NEEDS, ...COMPILER_NEEDS, ...IMAGE_NEEDS], console.log)
  const workbench = await startWorkbench({ dir })
  try {
    const network = await findNamespace(workbench.environment.HYPER_TEST_DOCKER_SOCKET)
    const child = spawn('nsenter', [`--net=${network}`, process.execPath, CHILD], {
      env: { ...process.env, ...workbench.environment },
      stdio: 'inherit',
    })
    const [code] = await once(child, 'close')
    if (code !== 0) process.exitCode = 1
  } finally {
    await workbench.stop()
  }
} finally {
  await rm(dir, { recursive: true, force: true })
}
