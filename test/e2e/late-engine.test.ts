/** An agent that was there before its engine. */

import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { ended, newHome, readContext, runHyper, startHyper } from '../support/deployment.ts'
import { startEngineProxy } from '../support/engine-proxy.ts'
import { eventually } from '../support/eventually.ts'
import { api, callSync, createFunc } from '../support/functions.ts'

test('an agent that was started before its engine runs calls once the engine comes', async (t) => {
  const home = await newHome()
  t.after(() => rm(home, { recursive: true, force: true }))
  const start = (...[args, env]: [string[], NodeJS.ProcessEnv?]) => {
    const daemon = startHyper(args, home, env)
    t.after(async () => {
      daemon.child.kill('SIGTERM')
      await ended(daemon.child)
    })
    return daemon
  }
  const listen = ['--listen', '127.0.0.1:0', '--mesh', '/ip4/127.0.0.1/tcp/0']
  const coordinator = start(['coordinator', ...listen])
  const context = await eventually(
    () => readContext(home).catch(() => undefined),
    20_000,
    coordinator.output,
  )
  const invited = await runHyper(['--json', 'invite'], { home })
  const { ticket } = JSON.parse(invited.stdout.toString()) as { ticket: string }
  const socketPath = join(home, 'late.sock')
  const agent = start(['agent', '--join', ticket], { DOCKER_HOST: `unix://${socketPath}` })
  const reasonOf = async (): Promise<string | undefined> => {
    const rows = (await (await api(context, 'GET', '/agents')).json()) as { reason: string }[]
    return rows[0]?.reason
  }
  await eventually(
    async () => (await reasonOf())?.startsWith('no engine') === true,
    20_000,
    agent.output,
  )

  const proxy = await startEngineProxy(process.env.HYPER_TEST_DOCKER_SOCKET ?? '', socketPath)
  t.after(proxy.close)
  await eventually(async () => (await reasonOf()) === '', 30_000, agent.output)
  // The agent tells its host anew when it knows its engine: a pull of that moment is to be tried again.
  const create = () => createFunc(context, 'late', 'hyper-func/hello', ['/hello'])
  const func = await eventually(() => create().catch(() => undefined), 20_000, agent.output)
  const answer = await callSync(context, func, 'engine')
  assert.equal(await answer.text(), 'Hello, engine!\n')
})
