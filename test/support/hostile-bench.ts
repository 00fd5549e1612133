/**
 * An agent that a function attacks. Each attack is one call with containers that stand ready beside
 * it. While it runs and after it another call is served byte for byte; the agent's memory is watched;
 * nothing of it may be left but its result.
 */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import type { AttemptResult } from '../../protocol/call.ts'
import type { ImagePin } from '../../protocol/image.ts'
import type { Assignment } from '../../protocol/messages.ts'
import { type AgentBench, createAgentBench } from './agent-bench.ts'
import { connectDocker, type DockerClient } from './docker.ts'
import { eventually } from './eventually.ts'

const MiB = 1024 * 1024
const WAIT_MS = 60_000
const SAMPLE_MS = 20
const NEIGHBOUR_BYTES = 64 * 1024

export type Attack = Partial<Assignment>

export interface Bounds {
  /** From the assignment to the result; the machine may be busy with other things. */
  readonly withinMs?: number
  /** By how much the agent may grow meanwhile: results, buffers, and what is not collected yet. */
  readonly grownBytesMax?: number
}

/** An attack, and how it must end. */
export interface AttackRow {
  readonly name: string
  readonly call: Attack
  readonly code: AttemptResult['code']
  readonly exitCode?: number
  readonly stdout?: string
}

interface Attacked extends AttemptResult {
  readonly tookMs: number
  /** More processes on this machine than before, at the most. */
  readonly processes: number
}

export interface HostileBench {
  readonly bench: AgentBench
  readonly client: DockerClient
  readonly image: ImagePin
  attack(call: Attack, bounds?: Bounds): Promise<Attacked>
  /** A call of another function, whose answer must be right. */
  serve(): Promise<void>
  close(): Promise<void>
}

export const sh = (script: string): Attack => ({ cmd: ['sh', '-c', script] })

/**
 * Takes the program that is the call's payload, and runs it. Nothing in a strict function's /tmp can be
 * executed; as root it has /dev, which is memory of its own.
 */
export const runProgram = (
  program: Uint8Array,
  profile: Assignment['profile'],
  args = '',
): Attack => {
  const isStrict = profile === 'strict'
  const path = isStrict ? '/dev/program' : '/tmp/program'
  const script = `cat > ${path} && chmod +x ${path} || exit 99\nexec ${path} ${args}`
  return { ...sh(script), payload: program, profile, ...(isStrict ? { user: '0' } : {}) }
}

export const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

export const assertEnd = (row: AttackRow, result: AttemptResult): void => {
  assert.equal(result.code, row.code, result.message)
  if (row.exitCode !== undefined) assert.equal(result.exitCode, row.exitCode)
  if (row.stdout !== undefined) assert.ok(text(result.stdout) === row.stdout)
}

const pids = async (): Promise<readonly string[]> =>
  (await readdir('/proc')).filter((name) => /^\d+$/.test(name))

/** Processes of this machine, in whatever container, that were started with this word. */
export const processesWith = async (word: string): Promise<number> => {
  const lines = await Promise.all(
    (await pids()).map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  )
  return lines.filter((line) => line.split('\0').includes(word)).length
}

const watch = (act: () => Promise<void> | void) => {
  let underWay: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    underWay = Promise.resolve(act())
  }, SAMPLE_MS)
  return async (): Promise<void> => {
    clearInterval(timer)
    await underWay
  }
}

export const openHostileBench = async (
  options: Parameters<typeof createAgentBench>[0] = {},
): Promise<HostileBench> => {
  const client = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  const bench = await createAgentBench({ ready: 2, ...options })
  await bench.open()
  await bench.connect()
  const image = await bench.pin('ubuntu')

  const serve = async (): Promise<void> => {
    const payload = randomBytes(NEIGHBOUR_BYTES)
    const key = bench.assign({ image, cmd: ['cat'], payload })
    const result = await bench.result(key)
    bench.acknowledge(key)
    assert.equal(result.code, 'FINISHED', `a neighbour: ${result.message}`)
    assert.ok(payload.equals(result.stdout), 'a neighbour got other bytes than it wrote')
  }

  /** Ids of containers that serve a call, or did. */
  const ofCalls = async (): Promise<readonly string[]> => {
    const all = await bench.outside.list()
    return all.filter((container) => !bench.premises().pool.owns(container)).map(({ id }) => id)
  }

  const attack: HostileBench['attack'] = async (call, bounds = {}) => {
    const { withinMs = WAIT_MS, grownBytesMax = 96 * MiB } = bounds
    const rss = process.memoryUsage.rss()
    const processesBefore = (await pids()).length
    let peak = rss
    let processes = 0
    const stop = watch(async () => {
      peak = Math.max(peak, process.memoryUsage.rss())
      processes = Math.max(processes, (await pids()).length - processesBefore)
    })
    try {
      const startedAt = performance.now()
      const key = bench.assign({ image, ...call })
      const ended = bench
        .result(key)
        .then((result) => ({ result, tookMs: performance.now() - startedAt }))
      const [{ result, tookMs }] = await Promise.all([
        ended,
        bench.message('started', key).then(serve),
      ])
      bench.acknowledge(key)
      await bench.quiet()
      await serve()
      await eventually(
        async () => (await ofCalls()).length === 0,
        WAIT_MS,
        () => 'a container of the call is left',
      )
      assert.ok(tookMs <= withinMs, `it took ${Math.round(tookMs)} ms`)
      const grown = peak - rss
      assert.ok(grown <= grownBytesMax, `the agent grew by ${Math.round(grown / MiB)} MB`)
      return { ...result, tookMs, processes }
    } finally {
      await stop()
    }
  }

  return {
    ...{ bench, client, image, attack, serve },
    async close() {
      try {
        await bench.close()
      } finally {
        client.close()
      }
    },
  }
}
