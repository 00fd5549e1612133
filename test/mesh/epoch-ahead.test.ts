/** A coordinator and members that have obeyed a later one, over a real mesh and gateway. */

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { limits } from '../../protocol/limits.ts'
import { sayHello, startTestCoordinator, type TestCoordinator } from '../support/coordinator.ts'
import { idOf } from '../support/mesh.ts'

const newFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'epoch-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const stateOf = async ({ client }: TestCoordinator, peerId: string): Promise<string | undefined> =>
  (await client.agents.list()).find((agent) => agent.peerId === peerId)?.state

const epochOf = (answer: { readonly type: string; readonly epoch?: number }): number => {
  assert.equal(answer.type, 'welcome')
  return answer.epoch ?? 0
}

test('an agent that obeyed a later epoch is shown as such, offered nothing, and stops no other', async (t) => {
  const coordinator = await startTestCoordinator(t, await newFolder(t))
  const [key, other] = [await coordinator.enrol(), await coordinator.enrol()]
  const mine = epochOf((await sayHello(t, coordinator, other)).answer)
  const { answer } = await sayHello(t, coordinator, key, { epochSeen: mine + 1000 })
  assert.partialDeepStrictEqual(answer, { type: 'goodbye', code: 'EPOCH_AHEAD' })
  assert.equal(await stateOf(coordinator, idOf(key)), 'epoch ahead')
  assert.equal(await stateOf(coordinator, idOf(other)), 'alive')
  const { Hyper } = await coordinator.client.overview()
  assert.equal(Hyper.agents?.connected, 1)
  const again = await sayHello(t, coordinator, key, { epochSeen: mine })
  assert.equal(epochOf(again.answer), mine)
  assert.equal(await stateOf(coordinator, idOf(key)), 'alive')
})

test('only the operator raises the epoch above what was told, also after restarts', async (t) => {
  const folder = await newFolder(t)
  const first = await startTestCoordinator(t, folder)
  const [key, other] = [await first.enrol(), await first.enrol()]
  const mine = epochOf((await sayHello(t, first, other)).answer)
  const told = mine + 100_000
  await sayHello(t, first, key, { epochSeen: told })
  await first.stop()
  const second = await startTestCoordinator(t, folder)
  const restarted = epochOf((await sayHello(t, second, other, { epochSeen: mine })).answer)
  assert.ok(restarted > mine && restarted < told)
  const refused = await sayHello(t, second, key, { epochSeen: told })
  assert.equal(refused.answer.type, 'goodbye')
  await second.stop()
  const raised = await startTestCoordinator(t, folder, { raiseEpoch: true })
  const taken = await sayHello(t, raised, key, { epochSeen: told })
  assert.equal(epochOf(taken.answer), told + limits.raisedEpochGap)
  assert.equal(await stateOf(raised, idOf(key)), 'alive')
})

test('a member that tells of an epoch that cannot be moves nothing', async (t) => {
  const folder = await newFolder(t)
  const first = await startTestCoordinator(t, folder)
  const [key, other] = [await first.enrol(), await first.enrol()]
  const claim = Number.MAX_SAFE_INTEGER
  const { answer } = await sayHello(t, first, key, { epochSeen: claim })
  assert.equal(answer.type, 'goodbye')
  assert.equal(await stateOf(first, idOf(key)), 'epoch ahead')
  await first.stop()
  const raised = await startTestCoordinator(t, folder, { raiseEpoch: true })
  const epoch = epochOf((await sayHello(t, raised, other)).answer)
  assert.ok(epoch < Date.now() / 1000 + limits.epochAheadMax / 2, 'the number is not used up')
})
