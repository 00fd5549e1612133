/** A coordinator that was upgraded, and its agents that follow one by one while calls go on. */

import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type DaemonProcess, startDaemon } from '../../cli/daemon.ts'
import { modulePath } from '../../cli/program.ts'
import type { AgentConfig } from '../../protocol/daemon.ts'
import { ended, newHome, readContext, runHyper, startHyper } from '../support/deployment.ts'
import { eventually } from '../support/eventually.ts'
import { callAsync, createFunc, type TestFunc, waitOutput } from '../support/functions.ts'

const AGENTS = 2
const CALL_PAUSE_MS = 100
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
  try {
    for (let number = 1; number <= AGENTS; number += 1) await start(FORMER, number, await ticket())
    const func = await createFunc(context, 'cat', 'ubuntu', ['cat'], { ContainerSize: 's1' })
    const calls: { readonly id: string; readonly input: string }[] = []
    let isOver = false
    const calling = (async () => {
      for (let number = 0; !isOver; number += 1) {
        const input = `call ${number}`
        calls.push({ id: await callAsync(context, func, input), input })
        await pause(CALL_PAUSE_MS)
      }
    })()
    for (const [number, former] of [...running]) {
      const before = calls.length
      await eventually(() => calls.length >= before + 5, START_MS)
      await end(former)
      await start(modulePath('agent/main'), number, null)
    }
    isOver = true
    await calling
    assert.ok(calls.length > 10)
    for (const call of calls) await checkEnd(context, func, call)
  } finally {
    await Promise.all([...running.values()].map(end))
  }
})

const checkEnd = async (
  context: Parameters<typeof waitOutput>[0],
  func: TestFunc,
  { id, input }: { readonly id: string; readonly input: string },
): Promise<void> => {
  const answer = await waitOutput(context, func, id)
  assert.equal(answer.status, 200, id)
  assert.equal(await answer.text(), input, id)
}
