/** The whole agent against a coordinator that the test plays, over the real mesh. */

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { startAgent } from '../../agent/agent.ts'
import { type AgentConfig, parseDaemonReport } from '../../protocol/daemon.ts'
import { assignmentOf } from '../support/agent-bench.ts'
import { EPOCH, playCoordinator, prepareAgent, startForTest } from '../support/agent-mesh.ts'
import { eventually } from '../support/eventually.ts'

const hello = { reference: 'hyper-func/hello:latest', digest: null, id: '' }

test('an agent joins by ticket, runs a call, advertises, and leaves in order', async (t) => {
  const { mesh, config, adverts, ticket } = await prepareAgent(t)
  const starting = startAgent({ ...config, ticket: await ticket() }, () => undefined)
  const coordinator = await playCoordinator(mesh, 1)
  const running = await starting
  assert.deepEqual(coordinator.hello.labels, { zone: 'a' })
  assert.deepEqual([coordinator.hello.slots, coordinator.hello.epochSeen], [4, 0])

  const assignment = assignmentOf({ image: hello, payload: Buffer.from('mesh') })
  const order = { session: 1, epoch: EPOCH }
  await coordinator.channel.send({ type: 'assign', ...order, assignment })
  await coordinator.message('started')
  const { result } = await coordinator.message('result')
  assert.equal(Buffer.from(result.stdout).toString(), 'Hello, mesh!\n')
  await coordinator.channel.send({ type: 'acknowledge', ...order, key: assignment.key })
  await coordinator.message('heartbeat')
  const advert = await eventually(() => adverts.find(({ images }) => images.length > 0))
  assert.deepEqual([advert.engineUp, advert.draining], [true, false])

  await running.stop()
  assert.ok(coordinator.heard.some((one) => one.type === 'draining' && one.draining))
  await coordinator.listening
})

test('an agent redials, keeps its call meanwhile, and remembers its mesh', async (t) => {
  const { mesh, config, ticket } = await prepareAgent(t)
  const starting = startAgent({ ...config, ticket: await ticket() }, () => undefined)
  const first = await playCoordinator(mesh, 1)
  const running = await starting
  const assignment = assignmentOf({ image: hello })
  await first.channel.send({ type: 'assign', session: 1, epoch: EPOCH, assignment })
  first.channel.abort(new Error('cut by the test'))
  const second = await playCoordinator(mesh, 2)
  const named = [...second.hello.attempts.map(({ key }) => key), ...second.hello.outbox]
  // The cut may have been quicker than the order.
  if (named.length > 0) {
    assert.deepEqual(named, [assignment.key])
    const { key } = await second.message('result')
    await second.channel.send({ type: 'acknowledge', session: 2, epoch: EPOCH, key })
  }
  assert.equal(second.hello.epochSeen, EPOCH)
  await running.stop()

  const again = startForTest(t, config)
  const third = await playCoordinator(mesh, 3)
  assert.equal(third.hello.storeId, second.hello.storeId)
  await (await again).stop()
})

test('an agent without a mesh, or taken off the list, says that it is no member', async (t) => {
  const { mesh, config, ticket } = await prepareAgent(t)
  await assert.rejects(startForTest(t, config), { code: 'NOT_A_MEMBER' })
  const starting = startAgent({ ...config, ticket: await ticket() }, () => undefined)
  await playCoordinator(mesh, 1)
  await (await starting).stop()
  mesh.members.clear()
  await assert.rejects(startForTest(t, config), { code: 'NOT_A_MEMBER' })
})

test('an agent whose engine is away starts, and takes no calls', async (t) => {
  const { mesh, config, adverts, ticket } = await prepareAgent(t)
  const dockerHost = `unix://${config.home}/none.sock`
  const starting = startForTest(t, { ...config, dockerHost, ticket: await ticket() })
  const coordinator = await playCoordinator(mesh, 1)
  await starting
  const assignment = assignmentOf({ image: hello })
  await coordinator.channel.send({ type: 'assign', session: 1, epoch: EPOCH, assignment })
  assert.match((await coordinator.message('refused')).message, /engine/)
  const advert = await eventually(() => adverts[0])
  assert.deepEqual([advert.engineUp, advert.slotsFree], [false, 0])
})

test('a pull by order tells its progress and ends with the record', async (t) => {
  const { mesh, config, ticket } = await prepareAgent(t)
  const starting = startForTest(t, { ...config, ticket: await ticket() })
  const coordinator = await playCoordinator(mesh, 1)
  await starting
  const pull = { type: 'pull', session: 1, epoch: EPOCH, auth: '' } as const
  await coordinator.channel.send({ ...pull, pull: 1, reference: 'ubuntu' })
  const end = await coordinator.message('pull-end')
  assert.match(end.record?.digest ?? '', /^sha256:/)
  assert.ok(coordinator.heard.some(({ type }) => type === 'pull-progress'))
  await coordinator.channel.send({ ...pull, pull: 2, reference: '127.0.0.1:5000/no/such' })
  const failed = await eventually(() =>
    coordinator.heard.find((one) => one.type === 'pull-end' && one.pull === 2),
  )
  assert.ok(failed.type === 'pull-end' && failed.code === 'IMAGE_NOT_FOUND', JSON.stringify(failed))
})

const startProcess = (t: TestContext, config: AgentConfig) => {
  const child = fork(new URL('../../agent/main.ts', import.meta.url).pathname, {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...process.env, HYPER_LOG_LEVEL: 'info' },
  })
  t.after(() => child.kill('SIGKILL'))
  const lines: string[] = []
  child.stderr?.on('data', (chunk: Buffer) => lines.push(chunk.toString()))
  const exited = once(child, 'exit')
  const reported = once(child, 'message')
  child.send({ type: 'configure', config })
  return { child, exited, reported, output: () => lines.join('') }
}

test('an agent’s process that is sent away says why and ends with a failure', async (t) => {
  const { mesh, config, ticket } = await prepareAgent(t)
  const agent = startProcess(t, { ...config, ticket: await ticket() })
  await playCoordinator(mesh, 1)
  const [report] = await agent.reported
  const ready = parseDaemonReport(report)
  assert.ok(ready.type === 'ready')
  mesh.members.delete(ready.peerId)
  mesh.node.disconnect(ready.peerId)
  assert.deepEqual(await agent.exited, [1, null])
  assert.match(agent.output(), /NOT_A_MEMBER.*ended by a failure/)
})

test('the agent’s process reports ready, and drains when its parent lets go of it', async (t) => {
  const { mesh, config, ticket } = await prepareAgent(t)
  const started = startProcess(t, { ...config, adHoc: true, ticket: await ticket() })
  const { child, exited, reported } = started
  const coordinator = await playCoordinator(mesh, 1)
  const [report] = await reported
  const ready = parseDaemonReport(report)
  assert.ok(ready.type === 'ready' && mesh.members.has(ready.peerId))
  const assignment = assignmentOf({ image: hello })
  await coordinator.channel.send({ type: 'assign', session: 1, epoch: EPOCH, assignment })
  await coordinator.message('started')
  child.disconnect()
  // What runs may end, and its result is waited for to be taken.
  const { key } = await coordinator.message('result')
  await coordinator.channel.send({ type: 'acknowledge', session: 1, epoch: EPOCH, key })
  await coordinator.message('leave')
  assert.deepEqual(await exited, [0, null])
})
