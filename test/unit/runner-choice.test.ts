/** Which runner starts a container, and that each is asked for its own. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { chooseRunner } from '../../agent/runner/choice.ts'
import type { ContainerSpec, Runner } from '../../agent/runner/runner.ts'
import type { HyperError } from '../../protocol/errors.ts'

const log = pino({ level: 'silent' })
const never = new AbortController().signal

const createBench = (
  wanted: 'auto' | 'docker' | 'oci',
  tryOci: () => Promise<void> = async () => undefined,
  isStuck = false,
) => {
  const asked: string[] = []
  const note = (name: string) => async (of: unknown) => {
    asked.push(`${name} ${typeof of === 'string' ? of : 'start'}`)
    return undefined as never
  }
  const runnerOf = (name: string): Runner => ({
    ...{ start: note(name), state: note(name), writtenBytes: note(name) },
    ...{ waitForEnd: note(name), readLog: note(name), remove: note(name) },
    list: async () => [{ id: name, isRunning: true, labels: {} }],
  })
  const runner = chooseRunner({
    ...{ wanted, docker: runnerOf('docker'), oci: runnerOf('oci'), tryOci, log },
    async leaveOci() {
      asked.push('leave oci')
      if (isStuck) throw new Error('the engine does not answer')
    },
    canLink: (network) => network === 'ours',
    isDirect: (runtime) => runtime === 'tried',
    defaultRuntime: () => 'standard',
  })
  const start = (network: string, runtime = '') =>
    runner.start(
      {
        ...{ image: 'i', user: '', workingDir: '', network, labels: {} },
        fence: { memoryBytes: 1, cpus: 1, network: 'none', runtime, profile: 'default' },
      } satisfies ContainerSpec,
      never,
    )
  return { runner, start, asked }
}

test('before it was tried the engine starts everything, afterwards the OCI runtime', async () => {
  const { runner, start, asked } = createBench('auto')
  await start('')
  assert.equal(runner.chosen().name, 'docker')
  await runner.settle()
  await start('')
  assert.deepEqual(asked, ['docker start', 'oci start'], 'what it has is not removed')
  assert.deepEqual(runner.chosen(), { name: 'oci', reason: '' })
})

test('what cannot be fenced in as the engine does is the engine’s', async () => {
  const { runner, start, asked } = createBench('oci')
  await runner.settle()
  await start('ours')
  await start('another’s')
  await start('', 'untried')
  await start('', 'tried')
  await start('', 'standard')
  assert.deepEqual(asked, ['oci start', 'docker start', 'docker start', 'oci start', 'oci start'])
})

test('auto goes on with the engine and says why, oci does not', async () => {
  const fail = (): Promise<void> => Promise.reject(new Error('the agent is not root'))
  const auto = createBench('auto', fail)
  await auto.runner.settle()
  assert.deepEqual(auto.runner.chosen(), { name: 'docker', reason: 'the agent is not root' })
  await auto.start('')
  assert.deepEqual(auto.asked, ['leave oci', 'docker start'])
  const oci = createBench('oci', fail)
  await assert.rejects(oci.runner.settle(), (error: HyperError) => {
    assert.equal(error.code, 'ENGINE_UNSUITABLE')
    assert.match(error.message, /--runner oci.*not root/)
    return true
  })
})

test('told docker, the OCI runtime is never tried, and what it has at the engine goes', async () => {
  for (const isStuck of [false, true]) {
    const { runner, asked } = createBench('docker', () => assert.fail('tried'), isStuck)
    await runner.settle()
    assert.match(runner.chosen().reason, /--runner docker/)
    assert.deepEqual(asked, ['leave oci'])
  }
})

test('each is asked for what it started, whichever starts now', async () => {
  const { runner, asked } = createBench('docker')
  await runner.state('oci-1', never)
  await runner.remove('abc', never)
  await runner.waitForEnd('oci-2', never)
  assert.deepEqual(asked, ['oci oci-1', 'docker abc', 'oci oci-2'])
  assert.deepEqual(
    (await runner.list(never)).map(({ id }) => id),
    ['oci', 'docker'],
  )
})
