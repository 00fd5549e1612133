/** Engines that come after their agent: told by a new hello, once one runs our containers. */

import assert from 'node:assert/strict'
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { assignmentOf } from '../support/agent-bench.ts'
import { EPOCH, playCoordinator, prepareAgent, startForTest } from '../support/agent-mesh.ts'
import { startEngineProxy } from '../support/engine-proxy.ts'
import { eventually } from '../support/eventually.ts'

const engineSocket = process.env.HYPER_TEST_DOCKER_SOCKET ?? ''
const image = { reference: 'hyper-func/hello:latest', digest: null, id: '' }

test('an engine that comes late is told in a new hello, and calls run', async (t) => {
  const { mesh, config, adverts, ticket } = await prepareAgent(t)
  const path = join(config.home, 'late.sock')
  const dockerHost = `unix://${path}`
  const starting = startForTest(t, { ...config, dockerHost, ticket: await ticket() })
  const first = await playCoordinator(mesh, 1)
  await starting
  assert.deepEqual([first.hello.platform, first.hello.runtimes], ['', []])
  await eventually(() => adverts[0]?.engineUp === false)

  const proxy = await startEngineProxy(engineSocket, path)
  t.after(proxy.close)
  const second = await playCoordinator(mesh, 2)
  assert.match(second.hello.platform, /^linux\/(amd64|arm64)$/)
  assert.ok(second.hello.runtimes.includes('runc'))
  const order = { session: 2, epoch: EPOCH }
  const assignment = assignmentOf({ image, payload: Buffer.from('late') })
  await second.channel.send({ type: 'assign', ...order, assignment })
  const { result } = await second.message('result')
  assert.equal(Buffer.from(result.stdout).toString(), 'Hello, late!\n')
  await second.channel.send({ type: 'acknowledge', ...order, key: assignment.key })
  await eventually(() => adverts.at(-1)?.engineUp === true)
})

test('an engine that comes late and cannot run our containers gets no calls', async (t) => {
  const { mesh, config, adverts, ticket } = await prepareAgent(t)
  // Without the program of the image that it is tried with.
  const initDir = join(config.home, 'half')
  await mkdir(initDir)
  await copyFile(join(config.initDir, 'hyper-init'), join(initDir, 'hyper-init'))
  const path = join(config.home, 'late.sock')
  const settings = { ...config, initDir, dockerHost: `unix://${path}`, ticket: await ticket() }
  const starting = startForTest(t, settings)
  const coordinator = await playCoordinator(mesh, 1)
  await starting
  const proxy = await startEngineProxy(engineSocket, path)
  t.after(proxy.close)
  const refusals = (): string[] =>
    coordinator.heard.flatMap((one) => (one.type === 'refused' ? [one.message] : []))
  await eventually(async () => {
    const before = refusals().length
    const assignment = assignmentOf({ image })
    await coordinator.channel.send({ type: 'assign', session: 1, epoch: EPOCH, assignment })
    await eventually(() => refusals().length > before)
    return /cannot run function containers/.test(refusals().at(-1) ?? '')
  }, 20_000)
  const { length } = adverts
  await eventually(() => adverts.length > length, 20_000)
  assert.ok(adverts.every(({ engineUp, slotsFree }) => !engineUp && slotsFree === 0))
  assert.equal(mesh.channels.length, 1)
})
