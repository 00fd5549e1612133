/** The key of a daemon is gone: it is made at a first start, and replaced only where that is said. */

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { settleIdentity } from '../../agent/membership.ts'
import { openStore } from '../../coordinator/store/store.ts'
import { startTestCoordinator } from '../support/coordinator.ts'

const newFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'lost-identity-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const startOnce = async (t: TestContext, folder: string): Promise<string> => {
  const { peerId, stop } = await startTestCoordinator(t, folder)
  await stop()
  return peerId
}

test('a coordinator without its key is refused, and starts again once it is put back', async (t) => {
  const folder = await newFolder(t)
  const peerId = await startOnce(t, folder)
  const path = join(folder, 'coordinator', 'identity')
  await rename(path, join(folder, 'copy'))
  await assert.rejects(startTestCoordinator(t, folder), {
    code: 'STATE_DAMAGED',
    message: `${path} is lost, the key by which every agent knows this coordinator: put the file back, if there is a copy`,
  })
  assert.ok(!(await readdir(join(folder, 'coordinator'))).includes('identity'))
  await rename(join(folder, 'copy'), path)
  assert.equal(await startOnce(t, folder), peerId)
})

test('a lost or damaged key of a coordinator is replaced where the loss is accepted', async (t) => {
  const folder = await newFolder(t)
  const home = join(folder, 'coordinator')
  const first = await startOnce(t, folder)
  await rm(join(home, 'identity'))
  const second = await startTestCoordinator(t, folder, { acceptDataLoss: true })
  assert.notEqual(second.peerId, first)
  await second.stop()
  assert.equal(await startOnce(t, folder), second.peerId)
  await writeFile(join(home, 'identity'), 'rotten')
  await assert.rejects(startTestCoordinator(t, folder), { code: 'STATE_DAMAGED' })
  const third = await startTestCoordinator(t, folder, { acceptDataLoss: true })
  assert.notEqual(third.peerId, second.peerId)
  const aside = (await readdir(home)).filter((name) => name.startsWith('identity.damaged-'))
  assert.equal(aside.length, 1)
  assert.equal(await readFile(join(home, aside[0] ?? ''), 'utf8'), 'rotten')
})

test('a first start that broke off after the store was made is still a first start', async (t) => {
  const folder = await newFolder(t)
  const store = await openStore(join(folder, 'coordinator'))
  await store.close()
  assert.notEqual(await startOnce(t, folder), '')
})

test('an agent that lost its key is no member, and joins anew only with a ticket', async (t) => {
  const home = join(await newFolder(t), 'agent-1')
  const warned: unknown[] = []
  const log = { warn: (...line: unknown[]) => void warned.push(...line) }
  const first = await settleIdentity({ home, ticket: null, log })
  assert.ok(first.equals(await settleIdentity({ home, ticket: null, log })))
  await rm(join(home, 'identity'))
  await settleIdentity({ home, ticket: null, log })
  assert.deepEqual(warned, [], 'it had joined nothing')
  const membership = { coordinator: 'P', addresses: [], name: 'N' }
  await mkdir(home, { recursive: true })
  await writeFile(join(home, 'membership.json'), JSON.stringify(membership))
  await rm(join(home, 'identity'))
  await assert.rejects(settleIdentity({ home, ticket: null, log }), {
    code: 'NOT_A_MEMBER',
    message: `${join(home, 'identity')} is lost, the key with which this agent was a member`,
  })
  const second = await settleIdentity({ home, ticket: 'T', log })
  assert.ok(!second.equals(first))
  assert.deepEqual(await readdir(home), ['identity'], 'what was joined with the former key is over')
  assert.equal(warned.length, 2)
})
