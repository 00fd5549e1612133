/** What the agent must not forget, across processes. */

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Level } from 'level'
import { notStarted } from '../../agent/classify.ts'
import { type Note, openOutbox } from '../../agent/outbox.ts'

const key = { call: '11111111-1111-4111-8111-111111111111', attempt: 2, epoch: 3 }
const note: Note = {
  ...{ key, container: 'c1', memoryBytes: 5, timeoutMs: 0 },
  ...{ command: 'true', imagePlatform: 'linux/amd64' },
}
const result = { ...notStarted('FINISHED', '', 0), stdout: Buffer.from([0, 255, 1]) }

const newHome = async (t: TestContext): Promise<string> => {
  const home = await mkdtemp(join(tmpdir(), 'outbox-'))
  t.after(() => rm(home, { recursive: true, force: true }))
  return home
}

test('notes, results, the epoch and the store’s id outlive the process', async (t) => {
  const home = await newHome(t)
  const first = await openOutbox(home)
  await first.putNote(note, true)
  await first.raiseEpoch(9)
  await first.close()

  const second = await openOutbox(home)
  assert.ok(second.start > first.start, 'each opening is counted')
  assert.deepEqual([second.storeId, second.epoch()], [first.storeId, 9])
  assert.deepEqual(await second.readKept(), { notes: [note], results: [], damaged: [] })
  await second.putResult(key, result)
  await second.close()

  const third = await openOutbox(home)
  assert.deepEqual(await third.readKept(), { notes: [], results: [key], damaged: [] })
  assert.deepEqual(Buffer.from((await third.getResult(key))?.stdout ?? []), result.stdout)
  await third.delete(key)
  assert.equal(await third.getResult(key), null)
  assert.deepEqual(await third.readKept(), { notes: [], results: [], damaged: [] })
  await third.close()
})

test('a second process is refused, also by another path to the same folder', async (t) => {
  const home = await newHome(t)
  const outbox = await openOutbox(home)
  await assert.rejects(openOutbox(`${home}/../${home.split('/').at(-1)}`), { code: 'STATE_IN_USE' })
  await outbox.putNote(note, false)
  await outbox.close()
})

test('a damaged row is named, and its attempt is one that nobody has a container of', async (t) => {
  const home = await newHome(t)
  const outbox = await openOutbox(home)
  await outbox.putResult(key, result)
  await outbox.close()
  const name = `result/${key.call}.2.3`
  const rows = new Level<string, Uint8Array>(join(home, 'outbox'), { valueEncoding: 'view' })
  const sealed = await rows.get(name)
  assert.ok(sealed !== undefined)
  const rotten = Uint8Array.from(sealed, (byte, at) => (at === sealed.length - 1 ? byte ^ 1 : byte))
  await rows.put(name, rotten)
  await rows.close()

  const again = await openOutbox(home)
  const { notes, damaged } = await again.readKept()
  assert.deepEqual(damaged, [name])
  assert.deepEqual(
    notes.map((one) => [one.key, one.container]),
    [[key, '']],
  )
  await again.close()
})

test('an epoch that could not be written is not remembered', async (t) => {
  const home = await newHome(t)
  const outbox = await openOutbox(home)
  await outbox.raiseEpoch(4)
  await outbox.close()
  await assert.rejects(outbox.raiseEpoch(5))
  assert.equal(outbox.epoch(), 4)
})
