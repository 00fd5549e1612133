/**
 * Latency of a synchronous call beside the raw engine's own, in one run.
 *
 * raw      create + attach + start + wait + remove of a container, through the same HTTP API, with
 *          the create options that the agent uses (host-config.ts), running the command itself
 *          (and, of the same runs, the time to its last byte, before wait and remove are over)
 * product  POST /call/…/sync through gateway, ledger, mesh, agent, hyper-init, and back
 *
 * The two are measured in turn, so that a slow minute of the machine hits both. Prints n, minimum,
 * median, p99 of each, their ratio and the overhead at the median; keeps them, with the machine, in
 * bench/results/latency.json. Exits 1 where the overhead is above its limit.
 */

import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type Docker from 'dockerode'
import { hostConfigOf } from '../agent/host-config.ts'
import { COMPILER_NEEDS, ENGINE_NEEDS, ensurePackages } from '../cli/setup/engine-install.ts'
import { SIZES } from '../protocol/func.ts'
import { startDeployment } from '../test/support/deployment.ts'
import { connectDocker } from '../test/support/docker.ts'
import { eventually } from '../test/support/eventually.ts'
import { callSync, createFunc } from '../test/support/functions.ts'
import { IMAGE_NEEDS } from '../test/support/images.ts'
import { startWorkbench } from '../test/support/workbench.ts'
import { keepResults } from './report.ts'
import { type Figures, figuresOf } from './statistics.ts'

const ROUNDS = 60
const WARM_UP = 5
/** What the product may add to the raw engine at the median. */
const OVERHEAD_MS_MAX = 15

/** Returns the time until the last byte of its output, in ms. */
const rawCall = async (docker: Docker, initDir: string): Promise<number> => {
  const start = performance.now()
  const container = await docker.createContainer({
    Image: 'ubuntu',
    Cmd: ['echo', 'hello'],
    ...{ OpenStdin: true, StdinOnce: true },
    ...{ AttachStdin: true, AttachStdout: true, AttachStderr: true },
    Healthcheck: { Test: ['NONE'] },
    HostConfig: hostConfigOf(
      { ...SIZES.s4, network: 'bridge', runtime: '', profile: 'default' },
      { cpus: cpus().length, initDir, bridge: 'bridge' },
    ),
  })
  const streams = { stream: true, stdin: true, stdout: true, stderr: true, hijack: true }
  const socket = await container.attach(streams)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  // The wait may be answered before the last byte came: both must have ended.
  const lastByte = once(socket, 'end').then(() => performance.now() - start)
  const ended = Promise.all([lastByte, container.wait()])
  await container.start()
  socket.end()
  const [lastByteMs] = await ended
  await container.remove({ force: true, v: true })
  if (!Buffer.concat(chunks).includes('hello\n')) throw new Error('the raw container said nothing')
  return lastByteMs
}

const timed = async <T>(act: () => Promise<T>): Promise<[number, T]> => {
  const start = performance.now()
  const value = await act()
  return [performance.now() - start, value]
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
      const rawLastByte: number[] = []
      const product: number[] = []
      for (let round = -WARM_UP; round < ROUNDS; round += 1) {
        const [rawMs, lastByteMs] = await timed(() =>
          rawCall(docker, workbench.environment.HYPER_TEST_INIT_DIR),
        )
        const [productMs] = await timed(productCall)
        // Removed after the answer: it must not weigh on the raw call that comes next.
        await eventually(async () => (await docker.listContainers({ all: true })).length === 0)
        if (round < 0) continue
        raw.push(rawMs)
        rawLastByte.push(lastByteMs)
        product.push(productMs)
      }
      return {
        raw: figuresOf(raw),
        rawLastByte: figuresOf(rawLastByte),
        product: figuresOf(product),
      }
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
  await ensurePackages([...ENGINE_NEEDS, ...COMPILER_NEEDS, ...IMAGE_NEEDS], console.log)
  const { raw, rawLastByte, product } = await measure(dir)
  const overheadMs = product.median - raw.median
  const ratio = product.median / raw.median
  console.log(
    `${''.padEnd(10)}${'n'.padStart(6)}${['min', 'median', 'p99'].map((word) => `${word} ms`.padStart(10)).join('')}`,
  )
  console.log(line('raw', raw))
  console.log(line('last byte', rawLastByte))
  console.log(line('product', product))
  console.log(
    `ratio at the median ${ratio.toFixed(2)}, overhead ${overheadMs.toFixed(1)} ms (at most ${OVERHEAD_MS_MAX})`,
  )
  await keepResults('latency', { raw, rawLastByte, product, ratio, overheadMs })
  if (overheadMs > OVERHEAD_MS_MAX) process.exitCode = 1
} finally {
  await rm(join(dir), { recursive: true, force: true })
}
