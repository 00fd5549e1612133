/**
 * Latency of a synchronous call beside the raw engine's own, in one run.
 *
 * raw      create + attach + start + wait + remove of a container, through the same HTTP API, with
 *          the create options that the agent uses (host-config.ts), running the command itself
 * product  POST /call/…/sync through gateway, ledger, mesh, agent, hyper-init, and back
 *
 * The two are measured in turn, so that a slow minute of the machine hits both. Prints n, minimum,
 * median, p99 of each, their ratio and the overhead at the median; keeps them, with the machine, in
 * bench/results/latency.json. Exits 1 where the overhead is above its limit.
 */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { arch, cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import type Docker from 'dockerode'
import { hostConfigOf } from '../agent/host-config.ts'
import { SIZES } from '../protocol/func.ts'
import { startDeployment } from '../test/support/deployment.ts'
import { connectDocker } from '../test/support/docker.ts'
import { callSync, createFunc } from '../test/support/functions.ts'
import { startWorkbench } from '../test/support/workbench.ts'
import { type Figures, figuresOf } from './statistics.ts'

const ROUNDS = 60
const WARM_UP = 5
/** What the product may add to the raw engine at the median. */
const OVERHEAD_MS_MAX = 15

const rawCall = async (docker: Docker, initDir: string): Promise<void> => {
  const container = await docker.createContainer({
    Image: 'ubuntu',
    Cmd: ['echo', 'hello'],
    ...{ OpenStdin: true, StdinOnce: true },
    ...{ AttachStdin: true, AttachStdout: true, AttachStderr: true },
    Healthcheck: { Test: ['NONE'] },
    HostConfig: hostConfigOf(
      { ...SIZES.s4, network: 'bridge', runtime: '', profile: 'default' },
      { cpus: cpus().length, initDir },
    ),
  })
  const streams = { stream: true, stdin: true, stdout: true, stderr: true, hijack: true }
  const socket = await container.attach(streams)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  const waited = container.wait()
  await container.start()
  socket.end()
  await waited
  await container.remove({ force: true, v: true })
  if (!Buffer.concat(chunks).includes('hello\n')) throw new Error('the raw container said nothing')
}

const timed = async (act: () => Promise<void>): Promise<number> => {
  const start = performance.now()
  await act()
  return performance.now() - start
}

const line = (name: string, { n, min, median, p99 }: Figures): string =>
  `${name.padEnd(10)}${String(n).padStart(6)}${[min, median, p99].map((ms) => ms.toFixed(1).padStart(10)).join('')}`

const measure = async (dir: string) => {
  const workbench = await startWorkbench({ dir })
  Object.assign(process.env, workbench.environment)
  const { docker, close } = connectDocker(workbench.environment.HYPER_TEST_DOCKER_SOCKET)
  try {
    const deployment = await startDeployment()
    try {
      const func = await createFunc(deployment.context, 'echo', 'ubuntu', ['echo', 'hello'])
      const productCall = async (): Promise<void> => {
        const answer = await callSync(deployment.context, func)
        const body = await answer.text()
        if (body !== 'hello\n') throw new Error(`the call answered ${answer.status} ${body}`)
      }
      const raw: number[] = []
      const product: number[] = []
      for (let round = -WARM_UP; round < ROUNDS; round += 1) {
        const rawMs = await timed(() => rawCall(docker, workbench.environment.HYPER_TEST_INIT_DIR))
        const productMs = await timed(productCall)
        if (round < 0) continue
        raw.push(rawMs)
        product.push(productMs)
      }
      return { raw: figuresOf(raw), product: figuresOf(product) }
    } finally {
      await deployment.stop()
    }
  } finally {
    close()
    await workbench.stop()
  }
}

const dir = await mkdtemp('/tmp/hyper-bench-')
try {
  process.env.TMPDIR = dir
  const { raw, product } = await measure(dir)
  const overheadMs = product.median - raw.median
  const ratio = product.median / raw.median
  console.log(
    `${''.padEnd(10)}${'n'.padStart(6)}${['min', 'median', 'p99'].map((word) => `${word} ms`.padStart(10)).join('')}`,
  )
  console.log(line('raw', raw))
  console.log(line('product', product))
  console.log(
    `ratio at the median ${ratio.toFixed(2)}, overhead ${overheadMs.toFixed(1)} ms (at most ${OVERHEAD_MS_MAX})`,
  )
  const results = new URL('results/', import.meta.url)
  await mkdir(results, { recursive: true })
  const machine = {
    cpus: cpus().length,
    model: cpus()[0]?.model ?? '',
    arch: arch(),
    kernel: release(),
    memoryBytes: totalmem(),
    node: process.version,
  }
  const kept = { measured: new Date().toISOString(), machine, raw, product, ratio, overheadMs }
  await writeFile(new URL('latency.json', results), `${JSON.stringify(kept, null, 2)}\n`)
  if (overheadMs > OVERHEAD_MS_MAX) process.exitCode = 1
} finally {
  await rm(join(dir), { recursive: true, force: true })
}
