/** Images on agents that never pulled them: credentials that go with one pull, and platforms. */

import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { PrivateKey } from '@libp2p/interface'
import type { Client } from '../../client/client.ts'
import type { AttemptKey } from '../../protocol/call.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import type { ImageRecord } from '../../protocol/image.ts'
import type { AgentMessage, CoordinatorMessage, Hello } from '../../protocol/messages.ts'
import { sayHello, startTestCoordinator, type TestCoordinator } from '../support/coordinator.ts'
import { startCoordinatorProcess } from '../support/coordinator-process.ts'
import { eventually } from '../support/eventually.ts'
import { IMAGE } from '../support/fake-ports.ts'
import { makeResult } from '../support/ledger-words.ts'

const SECRET = 'registry-password'
const AUTH = Buffer.from(JSON.stringify({ username: 'u', password: SECRET })).toString('base64')

type Order<T extends CoordinatorMessage['type']> = Extract<CoordinatorMessage, { type: T }>
type Untold = AgentMessage extends infer M
  ? M extends { session: number }
    ? Omit<M, 'session'>
    : never
  : never

const start = async (t: TestContext) => {
  const folder = await mkdtemp(join(tmpdir(), 'images-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return { folder, coordinator: await startTestCoordinator(t, folder) }
}

/** A member that keeps its orders for the test to answer. */
const enter = async (
  t: TestContext,
  coordinator: Pick<TestCoordinator, 'enrol' | 'peerId' | 'mesh'>,
  over: Partial<Hello> = {},
  former?: PrivateKey,
) => {
  const memberKey = former ?? (await coordinator.enrol())
  const { channel, answer } = await sayHello(t, coordinator, memberKey, over)
  const session = answer.type === 'welcome' ? answer.session : 0
  const orders: CoordinatorMessage[] = []
  const listen = async (): Promise<void> => {
    for await (const order of channel.messages) orders.push(order)
  }
  const listening = listen().catch(() => undefined)
  const leave = async (): Promise<void> => {
    await channel.close().catch(() => undefined)
    await listening
  }
  t.after(leave)
  const send = (message: Untold): Promise<void> =>
    channel.send({ ...message, session } as AgentMessage)
  return {
    ...{ memberKey, orders, leave, send },
    order: <T extends CoordinatorMessage['type']>(type: T): Promise<Order<T>> =>
      eventually(() => orders.find((one): one is Order<T> => one.type === type)),
    endPull: (pull: number, record: ImageRecord | null, code: ErrorCode = 'FINISHED') =>
      send({ type: 'pull-end', pull, record, code, message: '' }),
    end: (key: AttemptKey, code: ErrorCode = 'FINISHED', started = true) =>
      send({ type: 'result', key, result: makeResult(key, code, { started }) }),
    /** Whatever was said before is heard by then. */
    async beat(): Promise<void> {
      const seen = orders.length
      await send({ type: 'heartbeat', attempts: [] })
      await eventually(() => orders.slice(seen).some(({ type }) => type === 'renewed'))
    },
  }
}

const pull = async (client: Client, reference: string, registryAuth?: string): Promise<void> => {
  const options = registryAuth === undefined ? {} : { registryAuth }
  for await (const _ of client.images.pull(reference, options));
}

const record = { ...IMAGE, platform: 'linux/amd64' }
const config = { Image: IMAGE.reference }

const filesIn = async (folder: string): Promise<readonly string[]> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name))
}

test('an agent that needs an image is told the account’s credentials, for that pull alone', async (t) => {
  const { folder, coordinator } = await start(t)
  const { client } = coordinator
  const first = await enter(t, coordinator)
  const pulling = pull(client, IMAGE.reference, AUTH)
  const ordered = await first.order('pull')
  assert.equal(ordered.auth, AUTH)
  await first.endPull(ordered.pull, record)
  await pulling
  const func = await client.funcs.create({ Name: 'f', Config: config })
  await first.leave()
  const second = await enter(t, coordinator)
  const stranger = await enter(t, coordinator, { slots: 0 })
  const running = client.calls.run(func)
  const { assignment } = await second.order('assign')
  assert.deepEqual(
    [assignment.image.digest, assignment.image.isPrivate],
    [IMAGE.digest, true],
    'it comes by its digest, and is known to need credentials',
  )
  assert.ok(!JSON.stringify(second.orders).includes(AUTH), 'no order brings them unasked')
  const { key } = assignment
  await stranger.send({ type: 'want-registry-auth', key })
  await stranger.beat()
  assert.ok(!stranger.orders.some(({ type }) => type === 'registry-auth'))
  await second.send({ type: 'want-registry-auth', key })
  const told = await second.order('registry-auth')
  assert.deepEqual([told.auth, told.key], [AUTH, key])
  await second.end(key)
  await running
  const before = second.orders.length
  await second.send({ type: 'want-registry-auth', key })
  await second.beat()
  const later = second.orders.slice(before).map(({ type }) => type)
  assert.ok(!later.includes('registry-auth'), 'the attempt is over')

  await coordinator.stop()
  const files = await filesIn(folder)
  const keyFile = files.find((path) => path.endsWith('/secrets-key'))
  assert.equal((await stat(keyFile ?? '')).mode & 0o777, 0o600)
  for (const path of files) {
    const bytes = await readFile(path)
    for (const text of [SECRET, AUTH]) assert.ok(!bytes.includes(text), `${path} has them in clear`)
  }
})

test('the coordinator’s log, however talkative, has no credentials', async (t) => {
  const coordinator = await startCoordinatorProcess('trace')
  t.after(coordinator.stop)
  const { client, logged } = coordinator
  const agent = await enter(t, coordinator)
  const pulling = pull(client, IMAGE.reference, AUTH)
  await agent.endPull((await agent.order('pull')).pull, record)
  await pulling
  const running = client.calls.run(await client.funcs.create({ Name: 'f', Config: config }))
  const { key } = (await agent.order('assign')).assignment
  await agent.send({ type: 'want-registry-auth', key })
  assert.equal((await agent.order('registry-auth')).auth, AUTH)
  await agent.end(key)
  await running
  assert.ok(logged.some((row) => row.peer !== undefined && row.msg === 'agent connected'))
  const text = JSON.stringify(logged)
  for (const secret of [SECRET, AUTH]) assert.ok(!text.includes(secret))
})

test('credentials outlast a restart of the coordinator; other ones bring back what was refused', async (t) => {
  const { folder, coordinator } = await start(t)
  const first = await enter(t, coordinator)
  const pulling = pull(coordinator.client, IMAGE.reference, AUTH)
  await first.endPull((await first.order('pull')).pull, record)
  await pulling
  const func = await coordinator.client.funcs.create({ Name: 'f', Config: config })
  await coordinator.stop()
  const again = await startTestCoordinator(t, folder)
  const second = await enter(t, again, {}, first.memberKey)
  await again.client.calls.start(func)
  const { assignment } = await second.order('assign')
  await second.send({ type: 'want-registry-auth', key: assignment.key })
  assert.equal((await second.order('registry-auth')).auth, AUTH)
  await second.end(assignment.key, 'REGISTRY_UNAUTHORIZED', false)
  const { Waiting } = await eventually(async () => {
    const status = await again.client.calls.status(func)
    return status.Waiting === undefined ? undefined : status
  })
  assert.match(Waiting ?? '', /the registry does not give .*app:1 with the account’s credentials/)
  const other = Buffer.from('{"username":"other"}').toString('base64')
  const repulling = pull(again.client, IMAGE.reference, other)
  await second.endPull((await second.order('pull')).pull, record)
  await repulling
  const assigned = (): number => second.orders.filter(({ type }) => type === 'assign').length
  await eventually(() => assigned() === 2)
})

test('an image for another platform is pulled, and its calls run, where there is one', async (t) => {
  const { coordinator } = await start(t)
  const { client } = coordinator
  const amd = await enter(t, coordinator, { slots: 50 })
  const arm = await enter(t, coordinator, { platform: 'linux/arm64' })
  const pulling = pull(client, IMAGE.reference)
  await amd.endPull((await amd.order('pull')).pull, null, 'PLATFORM_MISMATCH')
  const platforms = ['linux/arm64', 'linux/riscv64']
  const ordered = await arm.order('pull')
  await arm.endPull(ordered.pull, { ...record, platform: 'linux/arm64', platforms })
  await pulling
  const func = await client.funcs.create({ Name: 'f', Config: config })
  const running = client.calls.run(func)
  await arm.end((await arm.order('assign')).assignment.key)
  assert.equal((await running).state, 'finished')
  await arm.leave()
  assert.ok(!amd.orders.some(({ type }) => type === 'assign'))
})

test('`hello` runs on an agent that never heard of it, on whatever platform', async (t) => {
  const { coordinator } = await start(t)
  const { client } = coordinator
  const first = await enter(t, coordinator)
  const hello = {
    ...record,
    reference: 'hyper-func/hello:latest',
    digest: null,
    id: 'of the first',
  }
  const creating = client.funcs.create({ Name: 'hello', Config: { Image: 'hyper-func/hello' } })
  await first.endPull((await first.order('pull')).pull, hello)
  const func = await creating
  await first.leave()
  const second = await enter(t, coordinator, { platform: 'linux/arm64' })
  const running = client.calls.run(func)
  const { assignment } = await second.order('assign')
  assert.equal(assignment.image.reference, hello.reference)
  await second.end(assignment.key)
  assert.equal((await running).state, 'finished')
})
