/** An agent process that is killed: the next one finds its containers and loses no result. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, test } from 'node:test'
import type { ImagePin } from '../../protocol/image.ts'
import type { Assignment } from '../../protocol/messages.ts'
import { type AgentBench, assignmentOf, createAgentBench } from '../support/agent-bench.ts'
import { type AgentProcess, startAgentProcess } from '../support/agent-process.ts'
import { connectDocker } from '../support/docker.ts'
import { eventually } from '../support/eventually.ts'

let bench: AgentBench
let ubuntu: ImagePin
let agent: AgentProcess | undefined
const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')

beforeEach(async () => {
  bench = await createAgentBench()
  await bench.open()
  ubuntu = await bench.pin('ubuntu')
  await bench.abandon()
  agent = await startAgentProcess(bench.config)
})
afterEach(async () => {
  await agent?.kill()
  await bench.close()
  close()
})

/** Starts a call in the agent's process and kills that while the call runs. */
const killDuring = async (part: Partial<Assignment>): Promise<Assignment> => {
  const assignment = assignmentOf({ image: ubuntu, ...part })
  agent?.assign(assignment)
  await agent?.message('started')
  await agent?.kill()
  agent = undefined
  return assignment
}

const restart = async ({ key }: Assignment): Promise<void> => {
  await bench.open()
  const { attempts, outbox } = bench.premises().attempts.hello()
  assert.deepEqual([attempts, outbox], [[{ key, running: true }], []])
  await bench.connect([{ key, verdict: 'keep' }])
}

const untilEnded = (): Promise<unknown> =>
  eventually(async () => {
    const [id = ''] = await bench.containers()
    return !(await bench.outside.isRunning(id))
  })

test('a call that outlives its agent is waited for and read back whole', async () => {
  const payload = randomBytes(1_000_000)
  const cmd = ['sh', '-c', 'echo early >&2; sleep 1.5; cat']
  const assignment = await killDuring({ cmd, payload, atMostOnce: true })
  await restart(assignment)
  const result = await bench.result(assignment.key)
  assert.deepEqual([result.code, result.exitCode], ['FINISHED', 0])
  assert.ok(payload.equals(result.stdout))
  assert.equal(Buffer.from(result.stderr).toString(), 'early\n')
  bench.acknowledge(assignment.key)
  await bench.quiet()
})

test('a call that ended while its agent was away is read back', async () => {
  const assignment = await killDuring({ cmd: ['sh', '-c', 'sleep 0.5; echo late; exit 3'] })
  await untilEnded()
  await restart(assignment)
  const result = await bench.result(assignment.key)
  assert.deepEqual([result.code, result.exitCode], ['CALL_EXITED', 3])
  assert.equal(Buffer.from(result.stdout).toString(), 'late\n')
  bench.acknowledge(assignment.key)
  await bench.quiet()
})

test('a call whose log does not hold it whole is a lost attempt', async () => {
  const flood = 'echo first; head -c 20000000 /dev/urandom >&2; sleep 0.5'
  const assignment = await killDuring({ cmd: ['sh', '-c', flood] })
  await untilEnded()
  await restart(assignment)
  const result = await bench.result(assignment.key)
  assert.deepEqual([result.code, result.started], ['AGENT_LOST', true])
  bench.acknowledge(assignment.key)
  await bench.quiet()
})

test('a recovered call can be cancelled', async () => {
  const assignment = await killDuring({ cmd: ['sleep', '60'] })
  await restart(assignment)
  bench.cancel(assignment.key)
  await bench.message('gone', assignment.key)
})

test('a container that is gone meanwhile is a lost attempt', async () => {
  const assignment = await killDuring({ cmd: ['sleep', '60'] })
  const [id = ''] = await bench.containers()
  await bench.outside.remove(id)
  await restart(assignment)
  assert.equal((await bench.result(assignment.key)).code, 'AGENT_LOST')
  bench.acknowledge(assignment.key)
  await bench.quiet()
})

test('a result that was not acknowledged survives its agent', async () => {
  const assignment = assignmentOf({ image: ubuntu, cmd: ['echo', 'kept'] })
  agent?.assign(assignment)
  await agent?.message('result')
  // The container goes only after the result was written.
  await eventually(async () => (await bench.containers()).length === 0)
  await agent?.kill()
  await bench.open()
  const { key } = assignment
  assert.deepEqual(bench.premises().attempts.hello().outbox, [key])
  await bench.connect([{ key, verdict: 'commit' }])
  assert.equal(Buffer.from((await bench.result(key)).stdout).toString(), 'kept\n')
  bench.acknowledge(key)
  await bench.quiet()
  await bench.abandon()
  await bench.open()
  assert.deepEqual(bench.premises().attempts.hello().outbox, [])
})

test('a container of ours that no note names is removed at the start', async () => {
  await agent?.kill()
  const container = await docker.createContainer({
    Image: ubuntu.id,
    Cmd: ['sleep', '60'],
    Labels: { hyper: 'call', 'hyper.agent': bench.agentId, 'hyper.call': 'unknown' },
    HostConfig: { NetworkMode: 'none' },
  })
  await container.start()
  assert.equal((await bench.containers()).length, 1)
  await bench.open()
  await eventually(async () => (await bench.containers()).length === 0)
})
