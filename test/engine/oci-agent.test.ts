/** Containers of the OCI runtime whose agent is killed: they go on, all is told, nothing is left. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { after, afterEach, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { eventually } from '../support/eventually.ts'
import type { OciAgentTask } from '../support/oci-agent-main.ts'
import {
  keeperOf,
  leftoversOf,
  mountsOf,
  OCI_SKIP,
  type OciBench,
  openOciBench,
  processesOf,
} from '../support/oci-bench.ts'
import { createMarks, logOf, type Marks, sh, soon } from '../support/runner-call.ts'

const NEVER_STARTED = 250
const MAIN = fileURLToPath(new URL('../support/oci-agent-main.ts', import.meta.url))

describe('an oci container', { skip: OCI_SKIP }, () => {
  let bench: OciBench
  const agents = new Set<ChildProcess>()

  before(async () => {
    bench = await openOciBench()
  })
  afterEach(async () => {
    for (const agent of agents) agent.kill('SIGKILL')
    agents.clear()
    for (const { id } of await bench.runner.list(soon())) await bench.runner.remove(id, soon())
    // Whom the keeper leaves, PID 1 of the host reaps in its own time.
    await eventually(async () => (await bench.leftovers()).length === 0)
  })
  after(() => bench.close())

  /** An agent of its own process; resolves with the id of the container that it has started. */
  const startAgent = async (frame: string): Promise<{ agent: ChildProcess; id: string }> => {
    const { own, keeper, runtime } = bench
    const task: OciAgentTask = {
      ...{ agentId: 'killed', home: own.home, cgroupName: own.cgroupName, keeper, runtime, frame },
      mountDir: bench.bench.host.mountDir,
      root: await bench.rootOf(bench.images.ubuntu),
      template: await bench.templateOf('default'),
    }
    const stdio = ['ignore', 'pipe', 'inherit'] as const
    const agent = spawn(process.execPath, [MAIN, JSON.stringify(task)], { stdio: [...stdio] })
    agents.add(agent)
    assert.ok(agent.stdout !== null)
    const lines = createInterface({ input: agent.stdout })
    const [id] = await once(lines, 'line', { signal: soon() })
    lines.close()
    return { agent, id: String(id) }
  }

  const kill = async (agent: ChildProcess): Promise<void> => {
    agent.kill('SIGKILL')
    await once(agent, 'exit', { signal: soon() })
  }

  const frameFile = async (marks: Marks, script: string, payload: Uint8Array): Promise<string> => {
    const path = join(bench.own.home, '..', 'frame')
    await writeFile(path, Buffer.concat(marks.frame({ ...sh(script), payload })))
    return path
  }

  test('whose agent is killed goes on, and its log has also what it wrote since', async () => {
    const marks = createMarks()
    const payload = Buffer.alloc(300_000, 'payload ')
    const script = 'echo begun; sleep 1; echo late >&2; tee /dev/stderr; exit 5'
    const { agent, id } = await startAgent(await frameFile(marks, script, payload))
    await kill(agent)
    assert.deepEqual(await mountsOf(bench.own), [])
    assert.equal((await bench.runner.state(id, soon()))?.isRunning, true)
    assert.equal((await bench.runner.list(soon()))[0]?.id, id)
    await bench.runner.waitForEnd(id, soon())
    const { stdout, stderr } = await logOf(bench.runner, id)
    assert.ok(stdout.equals(marks.whole(Buffer.concat([Buffer.from('begun\n'), payload]), 5)))
    assert.ok(stderr.equals(marks.whole(Buffer.concat([Buffer.from('late\n'), payload]), 5)))
    const state = await bench.runner.state(id, soon())
    assert.deepEqual(state, { isRunning: false, exitCode: 0, oomKilled: false })
    await eventually(async () => (await processesOf(bench.own, id)).length === 0)
    await bench.runner.remove(id, soon())
    assert.deepEqual(await leftoversOf(bench.own), [])
  })

  test('whose agent is killed before its call ends, as nothing was started', async () => {
    const { agent, id } = await startAgent('')
    await kill(agent)
    await bench.runner.waitForEnd(id, soon())
    assert.equal((await bench.runner.state(id, soon()))?.exitCode, NEVER_STARTED)
    const { stdout, stderr } = await logOf(bench.runner, id)
    assert.equal(stdout.length + stderr.length, 0)
  })

  test('of an agent that was killed can be ended by the next', async () => {
    const marks = createMarks()
    const frame = await frameFile(marks, 'echo begun; sleep 600', Buffer.alloc(0))
    const { agent, id } = await startAgent(frame)
    await kill(agent)
    await bench.runner.remove(id, soon())
    assert.deepEqual(await leftoversOf(bench.own), [])
  })

  test('whose agent and whose keeper are killed leaves nothing', async () => {
    const marks = createMarks()
    const frame = await frameFile(marks, 'echo begun; sleep 600', Buffer.alloc(0))
    const { agent, id } = await startAgent(frame)
    await kill(agent)
    process.kill(await keeperOf(bench, id), 'SIGKILL')
    await bench.runner.remove(id, soon())
    await eventually(async () => (await leftoversOf(bench.own)).length === 0)
  })
})
