/** Starts that are given up at any moment leave no container behind. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { startEngine } from '../../agent/engine.ts'
import { createDockerRunner } from '../../agent/runner/docker.ts'
import type { RunningContainer } from '../../agent/runner/runner.ts'
import { connectDocker, pullImage } from '../support/docker.ts'

const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
const engine = startEngine(process.env.HYPER_TEST_DOCKER_HOST ?? '')
const runner = createDockerRunner(
  engine,
  { agentId: 'runner-test', storeId: 'runner-test' },
  { cpus: () => 1, mountDir: process.env.HYPER_TEST_INIT_DIR ?? '' },
)
let image = ''

before(async () => {
  await engine.check()
  await pullImage(docker, 'ubuntu:latest')
  const { Id } = await docker.getImage('ubuntu').inspect()
  image = Id
})
after(() => {
  engine.close()
  close()
})

const fence = {
  memoryBytes: 64 * 1024 * 1024,
  cpus: 1,
  network: 'none',
  runtime: '',
  profile: 'default',
} as const
const start = (signal: AbortSignal): Promise<RunningContainer> =>
  runner.start({ image, user: '', workingDir: '', fence, network: '', labels: {} }, signal)
const list = () => runner.list(AbortSignal.timeout(10_000))

test('a start that is given up at any moment leaves no container', async () => {
  const began = performance.now()
  const whole = await start(AbortSignal.timeout(60_000))
  const startMs = performance.now() - began
  whole.detach()
  await runner.remove(whole.id, AbortSignal.timeout(60_000))
  const STEPS = 12
  let givenUp = 0
  for (let step = 0; step < STEPS; step += 1) {
    const leaving = new AbortController()
    const starting = start(leaving.signal)
    const settled = starting.then(
      (container) => container,
      () => null,
    )
    await pause((startMs * step) / STEPS)
    leaving.abort()
    const container = await settled
    if (container === null) givenUp += 1
    else {
      container.detach()
      await runner.remove(container.id, AbortSignal.timeout(60_000))
    }
    assert.deepEqual(await list(), [], `given up at step ${step}`)
  }
  assert.ok(givenUp > STEPS / 4, `only ${givenUp} starts were given up`)
  // One that the engine makes late would show by now.
  await pause(startMs)
  assert.deepEqual(await list(), [])
})
