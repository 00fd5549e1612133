/** A whole coordinator and agents that are of another version of the protocol, or slow. */

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST } from '../../protocol/messages.ts'
import { sayHello, startTestCoordinator } from '../support/coordinator.ts'
import { eventually } from '../support/eventually.ts'
import { IMAGE } from '../support/fake-ports.ts'
import { callAsync, callSync, createFunc } from '../support/functions.ts'
import { playAgent } from '../support/played-agent.ts'

const start = async (t: TestContext) => {
  const folder = await mkdtemp(join(tmpdir(), 'serving-'))
  const coordinator = await startTestCoordinator(t, folder, { quota: 64 })
  // After its stop: what it still has to write would wait for ever.
  t.after(() => rm(folder, { recursive: true, force: true }))
  const context = { endpoint: coordinator.url, token: coordinator.token }
  return { coordinator, context }
}

test('an agent of the version before runs calls, and is told nothing that it does not know', async (t) => {
  const { coordinator, context } = await start(t)
  const protocol = PROTOCOL_VERSION_OLDEST
  const agent = await playAgent(t, coordinator, await coordinator.enrol(), { protocol })
  assert.equal(agent.answer.type, 'welcome')
  assert.ok(!('addresses' in agent.answer))
  const func = await createFunc(context, 'f', IMAGE.reference, ['cat'])
  assert.equal(await (await callSync(context, func, 'as ever')).text(), 'as ever')
  assert.equal(agent.assigned.length, 1)
})

test('an agent of a version that is not served is told which side to upgrade', async (t) => {
  const { coordinator } = await start(t)
  const rows = [
    [PROTOCOL_VERSION_OLDEST - 1, /upgrade the agent/],
    [PROTOCOL_VERSION + 1, /upgrade the coordinator first/],
  ] as const
  for (const [protocol, message] of rows) {
    const { answer } = await sayHello(t, coordinator, await coordinator.enrol(), { protocol })
    assert.partialDeepStrictEqual(answer, { type: 'goodbye', code: 'VERSION_MISMATCH' })
    assert.match(answer.type === 'goodbye' ? answer.message : '', message)
  }
})

const CALLS = 40
/** Of 1 MB each: what a line takes before its agent gets no more. */
const STUCK_MAX = 16

test('calls do not wait for an agent that takes nothing: it gets no more than its line holds', async (t) => {
  const { coordinator, context } = await start(t)
  const quick = await playAgent(t, coordinator, await coordinator.enrol(), {
    ...{ slots: 4, storeId: 's2' },
  })
  const func = await createFunc(context, 'f', IMAGE.reference, ['cat'])
  // It has the room of all calls, and never reads; so it is chosen first.
  const slow = await sayHello(t, coordinator, await coordinator.enrol(), { slots: 50 })
  const { answer } = slow
  const session = answer.type === 'welcome' ? answer.session : 0
  const beat = setInterval(() => {
    slow.channel.send({ type: 'heartbeat', session, attempts: [] }).catch(() => undefined)
  }, 1000)
  t.after(() => clearInterval(beat))
  const payload = new Uint8Array(2 ** 20)
  for (let call = 0; call < CALLS; call += 1) await callAsync(context, func, payload)
  await eventually(
    () => quick.assigned.length >= CALLS - STUCK_MAX,
    20_000,
    () => `${quick.assigned.length} ran`,
  )
  assert.ok(slow.channel.bytesReceived() > 0, 'the slow one was given calls, too')
})
