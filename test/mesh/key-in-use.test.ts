/** Two agents with one key: a host that was copied, or one that was started again. */

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { sayHello, startTestCoordinator } from '../support/coordinator.ts'
import { eventually } from '../support/eventually.ts'

const start = async (t: TestContext) => {
  const folder = await mkdtemp(join(tmpdir(), 'key-in-use-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return startTestCoordinator(t, folder)
}

test('the later of two agents with one key stays, the other is told, and neither takes turns', async (t) => {
  const coordinator = await start(t)
  const key = await coordinator.enrol()
  const first = await sayHello(t, coordinator, key, { start: 1, instance: 'first' })
  const second = await sayHello(t, coordinator, key, { start: 2, instance: 'second' })
  assert.equal(second.answer.type, 'welcome')
  const told = await first.channel.messages.next()
  assert.partialDeepStrictEqual(told.value, { type: 'goodbye', code: 'KEY_IN_USE' })
  assert.equal(await first.channel.closed, null)

  const again = await sayHello(t, coordinator, key, { start: 1, greeting: 2, instance: 'first' })
  assert.partialDeepStrictEqual(again.answer, { type: 'goodbye', code: 'KEY_IN_USE' })
  const session = second.answer.type === 'welcome' ? second.answer.session : 0
  await second.channel.send({ type: 'heartbeat', session, attempts: [] })
  assert.partialDeepStrictEqual((await second.channel.messages.next()).value, { type: 'renewed' })
  const agents = await coordinator.client.agents.list()
  assert.deepEqual(
    agents.map(({ state, running }) => [state, running]),
    [['alive', 0]],
  )
})

test('an agent on a new connection is told nothing of a second one', async (t) => {
  const coordinator = await start(t)
  const key = await coordinator.enrol()
  const first = await sayHello(t, coordinator, key, { instance: 'same' })
  const again = await sayHello(t, coordinator, key, { greeting: 2, instance: 'same' })
  assert.equal(again.answer.type, 'welcome')
  assert.ok((await first.channel.closed) instanceof Error)
  const heard = await first.channel.messages.next().catch(() => ({ done: true }))
  assert.equal(heard.done, true)
  await eventually(async () => (await coordinator.client.agents.list())[0]?.state === 'alive')
})

test('the labels of an invitation are in the list of agents, over what the agent says', async (t) => {
  const coordinator = await start(t)
  const key = await coordinator.enrol({ zone: 'eu' })
  await sayHello(t, coordinator, key, { labels: { zone: 'us', disk: 'ssd' } })
  const [shown] = await coordinator.client.agents.list()
  assert.deepEqual(shown?.labels, { zone: 'eu', disk: 'ssd' })
})
