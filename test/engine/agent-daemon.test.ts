/** The whole agent against a coordinator that the test plays, over the real mesh. */

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { startAgent } from '../../agent/agent.ts'
import type { Running } from '../../daemon/lifecycle.ts'
import type { Advert } from '../../protocol/advert.ts'
import { type AgentConfig, parseDaemonReport } from '../../protocol/daemon.ts'
import { onAdvert } from '../../protocol/mesh/adverts.ts'
import type { MemberChannel } from '../../protocol/mesh/agent-channel.ts'
import { handleEnrolment } from '../../protocol/mesh/enrolment.ts'
import { createInvitation } from '../../protocol/mesh/identity.ts'
import { encodeTicket } from '../../protocol/mesh/ticket.ts'
import type { AgentMessage, Hello } from '../../protocol/messages.ts'
import { assignmentOf } from '../support/agent-bench.ts'
import { eventually } from '../support/eventually.ts'
import { startMesh, type TestMesh } from '../support/mesh.ts'

// The agent logs by itself; a test's output is its assertions.
process.env.HYPER_LOG_LEVEL ??= 'silent'

const EPOCH = 7

/** Answers the newest channel's hello, and collects what else comes. */
const playCoordinator = async (mesh: TestMesh, number: number) => {
  const channel = await eventually(() => mesh.channels[number - 1], 20_000)
  const first = await channel.messages.next()
  assert.ok(!first.done && first.value.type === 'hello')
  const hello: Hello = first.value
  const heard: AgentMessage[] = []
  await channel.send({
    ...{ type: 'welcome', session: number, epoch: EPOCH, version: 'test', name: 'test' },
    verdicts: hello.outbox.map((key) => ({ key, verdict: 'commit' as const })),
  })
  const listen = async (from: MemberChannel): Promise<void> => {
    for await (const message of from.messages) {
      heard.push(message)
      if (message.type === 'heartbeat') {
        await from.send({ type: 'renewed', session: number, epoch: EPOCH }).catch(() => undefined)
      }
    }
  }
  const listening = listen(channel)
  const message = <T extends AgentMessage['type']>(type: T) =>
    eventually(
      () => heard.find((one): one is Extract<AgentMessage, { type: T }> => one.type === type),
      20_000,
      () => `no ${type} came`,
    )
  return { channel, hello, heard, message, listening }
}

interface Setting {
  readonly mesh: TestMesh
  readonly config: AgentConfig
  readonly adverts: Advert[]
  readonly ticket: () => Promise<string>
}

const prepare = async (t: TestContext): Promise<Setting> => {
  const mesh = await startMesh(t)
  await handleEnrolment(mesh.node, {
    admit: async (_invitation, newPeerId) => {
      mesh.members.add(newPeerId)
      return { name: 'first' }
    },
  })
  const adverts: Advert[] = []
  onAdvert(mesh.node, (_peer, advert) => adverts.push(advert))
  const home = await mkdtemp(join(tmpdir(), 'agent-'))
  t.after(() => rm(home, { recursive: true, force: true }))
  const config: AgentConfig = {
    home,
    initDir: process.env.HYPER_TEST_INIT_DIR ?? '',
    ...{ ticket: null, adHoc: false, slots: 4, memoryBytes: 2 ** 30, labels: { zone: 'a' } },
    dockerHost: process.env.HYPER_TEST_DOCKER_HOST ?? '',
    ...{ drainMs: 5000, logFormat: 'json' },
  }
  const ticket = async (): Promise<string> => {
    const { peerId, key } = await createInvitation()
    mesh.invitations.add(peerId)
    const expires = Date.now() + 60_000
    const { node } = mesh
    return encodeTicket({
      ...{ addresses: node.addresses(), coordinator: node.peerId, invitation: key, expires },
    })
  }
  return { mesh, config, adverts, ticket }
}

const start = (t: TestContext, config: AgentConfig): Promise<Running> => {
  const starting = startAgent(config, () => undefined)
  t.after(async () => {
    const running = await starting.catch(() => null)
    await running?.stop().catch(() => undefined)
  })
  return starting
}

const hello = { reference: 'hyper-func/hello:latest', digest: null, id: '' }

test('an agent joins by ticket, runs a call, advertises, and leaves in order', async (t) => {
  const { mesh, config, adverts, ticket } = await prepare(t)
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
  const { mesh, config, ticket } = await prepare(t)
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

  const again = start(t, config)
  const third = await playCoordinator(mesh, 3)
  assert.equal(third.hello.storeId, second.hello.storeId)
  await (await again).stop()
})

test('an agent without a mesh, or taken off the list, says that it is no member', async (t) => {
  const { mesh, config, ticket } = await prepare(t)
  await assert.rejects(start(t, config), { code: 'NOT_A_MEMBER' })
  const starting = startAgent({ ...config, ticket: await ticket() }, () => undefined)
  await playCoordinator(mesh, 1)
  await (await starting).stop()
  mesh.members.clear()
  await assert.rejects(start(t, config), { code: 'NOT_A_MEMBER' })
})

test('an agent whose engine is away starts, and takes no calls', async (t) => {
  const { mesh, config, adverts, ticket } = await prepare(t)
  const dockerHost = `unix://${config.home}/none.sock`
  const starting = start(t, { ...config, dockerHost, ticket: await ticket() })
  const coordinator = await playCoordinator(mesh, 1)
  await starting
  const assignment = assignmentOf({ image: hello })
  await coordinator.channel.send({ type: 'assign', session: 1, epoch: EPOCH, assignment })
  assert.match((await coordinator.message('refused')).message, /engine/)
  const advert = await eventually(() => adverts[0])
  assert.deepEqual([advert.engineUp, advert.slotsFree], [false, 0])
})

test('a pull by order tells its progress and ends with the record', async (t) => {
  const { mesh, config, ticket } = await prepare(t)
  const starting = start(t, { ...config, ticket: await ticket() })
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

test('the agent’s process reports ready, and drains when its parent lets go of it', async (t) => {
  const { mesh, config, ticket } = await prepare(t)
  const child = fork(new URL('../../agent/main.ts', import.meta.url).pathname, {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  t.after(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const reported = once(child, 'message')
  child.send({ type: 'configure', config: { ...config, adHoc: true, ticket: await ticket() } })
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
