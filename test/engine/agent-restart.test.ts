/**
 * dockerd ends and is started again while calls run, by its own will and by a kill: with live-restore
 * their containers go on, without it they end with it. Either way nothing is lost silently, and the
 * next call runs.
 */

import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isOciId } from '../../agent/runner/oci/oci.ts'
import type { ImagePin } from '../../protocol/image.ts'
import { type AgentBench, createAgentBench } from '../support/agent-bench.ts'
import { connectDocker } from '../support/docker.ts'
import { startTestEngine } from '../support/engine.ts'
import { eventually } from '../support/eventually.ts'
import { pushImage } from '../support/image-push.ts'
import { makeBusyboxRoot } from '../support/images.ts'

const BACK_MS = 60_000

const startOwnEngine = async (
  t: TestContext,
  liveRestore: boolean,
  runner: 'docker' | 'oci' = 'docker',
) => {
  const dir = await mkdtemp(join(tmpdir(), 'restart-'))
  const closing = new AsyncDisposableStack()
  t.after(() => closing.disposeAsync())
  closing.defer(() => rm(dir, { recursive: true, force: true }))
  const engine = await startTestEngine({ dir: join(dir, 'e'), liveRestore })
  closing.defer(engine.stop)
  const { docker, close } = connectDocker(engine.socketPath)
  closing.defer(close)
  const rootDir = join(dir, 'root')
  await makeBusyboxRoot(rootDir)
  const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'
  await pushImage({
    ...{ docker, registry: new URL(engine.registryUrl).host, dir },
    source: { repository: 'restart/busybox', rootDir, architecture, config: {} },
  })
  const { dockerHost, socketPath } = engine
  const bench = await createAgentBench({ dockerHost, socketPath, ready: 2, runner })
  closing.defer(bench.close)
  await bench.open()
  await bench.connect()
  return { engine, docker, bench, image: await bench.pin('restart/busybox') }
}

/** Whole lines: an engine's log has no other until their end. */
const LINES = 'cat; echo begun; echo begun >&2; sleep 20; echo end'
const PAYLOAD = 'x\n'.repeat(5000)
/**
 * Half a line, of which the engine had passed on what it had not yet written to its log; what comes
 * after it looks the same.
 */
const HALF_LINE = 'echo begun; printf ha; echo begun >&2; sleep 20; echo ha'

const slow = (image: ImagePin, script: string) => ({
  ...{ image, cmd: ['sh', '-c', script], timeoutMs: 60_000, payload: Buffer.from(PAYLOAD) },
})

const restart = async (
  { engine, bench }: Awaited<ReturnType<typeof startOwnEngine>>,
  signal: NodeJS.Signals,
): Promise<void> => {
  const { engine: seen } = bench.premises()
  await engine.endDaemon(signal)
  seen.suspect()
  await eventually(() => !seen.isUp(), BACK_MS)
  await eventually(() => seen.isUp(), BACK_MS)
}

const isServed = async (bench: AgentBench, image: ImagePin): Promise<void> => {
  const { code, message, stdout } = await bench.run({ image, cmd: ['echo', 'on'] })
  assert.deepEqual([code, Buffer.from(stdout).toString()], ['FINISHED', 'on\n'], message)
}

/** Whether one of the containers has this in its log, on both streams. */
const hasLogged = async (
  { bench, docker }: Awaited<ReturnType<typeof startOwnEngine>>,
  line: string,
): Promise<boolean> => {
  for (const id of await bench.containers()) {
    const log = isOciId(id)
      ? await Promise.all(
          ['stdout', 'stderr'].map((name) => readFile(join(bench.home, 'oci', id, name), 'latin1')),
        )
      : [(await docker.getContainer(id).logs({ stdout: true, stderr: true })).toString('latin1')]
    if (log.join('').split(line).length > 2) return true
  }
  return false
}

/** Of a call during which dockerd ends, and then of the next one. */
const resultAcross = async (
  own: Awaited<ReturnType<typeof startOwnEngine>>,
  script: string,
  signal: NodeJS.Signals,
) => {
  const { bench, image } = own
  const key = bench.assign(slow(image, script))
  await bench.message('started', key)
  await eventually(() => hasLogged(own, 'begun'), BACK_MS)
  await restart(own, signal)
  const result = await bench.result(key)
  bench.acknowledge(key)
  await bench.quiet()
  await isServed(bench, image)
  return result
}

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`with live-restore a call outlives dockerd, ended by ${signal}, and is read back whole`, async (t) => {
    const own = await startOwnEngine(t, true)
    const { code, message, stdout } = await resultAcross(own, LINES, signal)
    assert.equal(code, 'FINISHED', message)
    assert.equal(Buffer.from(stdout).toString(), `${PAYLOAD}begun\nend\n`)
  })
}

test('a call of a container that the agent started itself outlives dockerd, and is told whole', async (t) => {
  const own = await startOwnEngine(t, false, 'oci')
  const { code, message, stdout } = await resultAcross(own, HALF_LINE, 'SIGKILL')
  assert.equal(code, 'FINISHED', message)
  assert.equal(Buffer.from(stdout).toString(), 'begun\nhaha\n')
})

test('half a line that a killed dockerd took along makes a lost attempt, not a wrong output', async (t) => {
  const own = await startOwnEngine(t, true)
  const { code, started, message } = await resultAcross(own, HALF_LINE, 'SIGKILL')
  assert.deepEqual([code, started], ['AGENT_LOST', true], message)
})

test('without live-restore a call that dockerd took along is a lost attempt, and told', async (t) => {
  const own = await startOwnEngine(t, false)
  const { code, started, message } = await resultAcross(own, LINES, 'SIGTERM')
  assert.deepEqual([code, started], ['AGENT_LOST', true], message)
})
