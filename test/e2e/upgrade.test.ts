/** A coordinator that was upgraded, and its agents that follow one by one while calls go on. */

import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type DaemonProcess, startDaemon } from '../../cli/daemon.ts'
import { modulePath } from '../../cli/program.ts'
import type { AgentConfig } from '../../protocol/daemon.ts'
import {
  type Context,
  ended,
  newHome,
  readContext,
  runHyper,
  startHyper,
} from '../support/deployment.ts'
import { eventually } from '../support/eventually.ts'
import { callAsync, createFunc, type TestFunc, waitOutput } from '../support/functions.ts'

const AGENTS = 2
/** Each calls again when its call has ended: a slow host gets fewer calls, not a backlog. */
const CALLERS = 3
const CALLS_BETWEEN = 3
const START_MS = 60_000
const FORMER = fileURLToPath(new URL('../support/former-agent-main.ts', import.meta.url))

const startCoordinator = async (t: TestContext, home: string) => {
  const listen = ['--listen', '127.0.0.1:0', '--mesh', '/ip4/127.0.0.1/tcp/0']
  const { child, output } = startHyper(['coordinator', ...listen], home)
  t.after(async () => {
    child.kill('SIGTERM')
    await ended(child)
    await rm(home, { recursive: true, force: true })
  })
  const context = await eventually(() => readContext(home).catch(() => undefined), START_MS, output)
  const ticket = async (): Promise<string> => {
    const invited = await runHyper(['--json', 'invite'], { home })
    return (JSON.parse(invited.stdout.toString()) as { ticket: string }).ticket
  }
  return { context, ticket }
}

const configOf = (home: string, number: number, ticket: string | null): AgentConfig => ({
  home: join(home, `agent-${number}`),
  initDir: process.env.HYPER_TEST_INIT_DIR ?? '',
  ...{ ticket, adHoc: false, slots: 2, memoryBytes: 2 ** 30, ready: 1 },
  ...{ labels: {}, runner: 'docker', dockerHost: process.env.HYPER_TEST_DOCKER_HOST ?? '' },
  ...{ drainMs: 10_000, logFormat: 'json' },
})

const end = async (agent: DaemonProcess): Promise<void> => {
  agent.signal('SIGTERM')
  const { code, reason } = await agent.ended
  assert.equal(code, 0, reason?.message)
}

const checkCall = async (context: Context, func: TestFunc, input: string): Promise<void> => {
  const id = await callAsync(context, func, input)
  const answer = await waitOutput(context, func, id)
  const body = await answer.text()
  assert.deepEqual([answer.status, body], [200, input], id)
}

test('agents are upgraded one by one after their coordinator, and no call is lost', async (t) => {
  const home = await newHome()
  const running = new Map<number, DaemonProcess>()
  const { context, ticket } = await startCoordinator(t, home)
  const start = async (program: string, number: number, spent: string | null): Promise<void> => {
    const config = configOf(home, number, spent)
    const agent = startDaemon({ program, config, name: 'agent', onProgress: () => undefined })
    running.set(number, agent)
    await agent.ready
  }
  let isOver = false
  try {
    for (let number = 1; number <= AGENTS; number += 1) await start(FORMER, number, await ticket())
    const func = await createFunc(context, 'cat', 'ubuntu', ['cat'], { ContainerSize: 's1' })
    let finished = 0
    const callers = Array.from({ length: CALLERS }, async (_, caller) => {
      for (let number = 0; !isOver; number += 1) {
        await checkCall(context, func, `call ${number} of ${caller}`)
        finished += 1
      }
    })
    const calling = Promise.all(callers)
    const someEnd = async (): Promise<void> => {
      const before = finished
      await Promise.race([
        eventually(() => finished >= before + CALLS_BETWEEN, START_MS),
        // A call that went wrong is told at once.
        calling,
      ])
    }
    for (const [number, former] of [...running]) {
      await someEnd()
      await end(former)
      await start(modulePath('agent/main'), number, null)
    }
    await someEnd()
    isOver = true
    await calling
  } finally {
    isOver = true
    await Promise.all([...running.values()].map(end))
  }
})
