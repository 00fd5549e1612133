/** State folders of earlier versions, made by the code of their time, and what becomes of them. */

import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Level } from 'level'
import { parseCallRow } from '../../coordinator/call-row.ts'
import { openRooms } from '../../coordinator/rooms.ts'
import { decodeInput, parseHistoryRow, parseOutputRow } from '../../coordinator/rows.ts'
import { MIGRATIONS } from '../../coordinator/store/migrations.ts'
import { openStore, type Store, SUBLEVELS, type Sublevel } from '../../coordinator/store/store.ts'
import type { Table } from '../../coordinator/store/tables.ts'
import { sealRow } from '../../daemon/sealed-row.ts'
import { createIdentity } from '../../protocol/mesh/identity.ts'
import { configFor } from '../support/coordinator.ts'
import type { MemoryDisk } from '../support/memory-drive.ts'
import { quiet } from '../support/mesh.ts'
import { createStoreBench } from '../support/store-bench.ts'

const fixtureOf = (version: number): string =>
  fileURLToPath(new URL(`../fixtures/store-${version}`, import.meta.url))

interface Expected {
  readonly calls: Readonly<Record<string, string>>
  readonly leases: readonly string[]
  readonly epoch: number
  readonly live: readonly { readonly id: string; readonly seq: number }[]
  readonly nextSeq: number
}

const readExpected = async (): Promise<Expected> =>
  JSON.parse(await readFile(join(fixtureOf(1), 'expected.json'), 'utf8'))

const copyFixture = async (context: TestContext, version: number): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'hyper-store-'))
  context.after(() => rm(folder, { recursive: true, force: true }))
  await cp(join(fixtureOf(version), 'ledger'), join(folder, 'ledger'), { recursive: true })
  if (version > 1) await mkdir(join(folder, 'blobs'))
  return folder
}

const rowsOf = async (
  store: Store,
  sublevel: Sublevel,
): Promise<(readonly [string, unknown])[]> => {
  const rows: (readonly [string, unknown])[] = []
  await store.scan(sublevel, (key, value) => void rows.push([key, value]))
  return rows
}

/** Everything of the fixture is there, in the shapes of this version, and proven. Gives its text. */
const checkStore = async (store: Store): Promise<string> => {
  const expected = await readExpected()
  const found: unknown[] = []
  for (const sublevel of SUBLEVELS) {
    const rows = await rowsOf(store, sublevel)
    found.push([sublevel, rows])
  }
  const calls = (await rowsOf(store, 'call')).map(([, value]) => parseCallRow(value))
  const ids = calls.map(({ id }) => id)
  // A lease names its attempt; the call has it among those that were granted.
  for (const { id, trials } of calls) {
    const granted = trials?.granted.map(({ attempt, epoch }) => `${id}.${attempt}.${epoch}`) ?? []
    assert.deepEqual(
      granted,
      expected.leases.filter((key) => key.startsWith(id)),
    )
  }
  for (const { id } of expected.live) assert.ok(ids.includes(id), id)
  for (const [key] of await rowsOf(store, 'call')) {
    const bytes = await store.body('input', key)
    assert.ok(bytes !== undefined, `input ${key}`)
    found.push(decodeInput(bytes))
  }
  const leases = (await rowsOf(store, 'lease')).map(([key]) => key)
  assert.deepEqual(leases.sort(), [...expected.leases].sort())
  const ended = (await rowsOf(store, 'history')).map(([, value]) => parseHistoryRow(value))
  const known = [...ids, ...ended.map(({ id }) => id)]
  assert.deepEqual([...known].sort(), Object.values(expected.calls).sort())
  const outputs = await rowsOf(store, 'output')
  assert.ok(outputs.length > 0)
  for (const [key, value] of outputs) {
    const body = await store.body('stdout', key)
    assert.equal(body?.byteLength, parseOutputRow(value).bytes)
    found.push(body)
  }
  assert.equal(await store.get('meta', 'seq'), expected.nextSeq)
  assert.equal(await store.get('meta', 'epoch'), expected.epoch)
  await store.verify()
  return JSON.stringify(found, (_, value) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value,
  )
}

/** The fixture's rows as they are, on a disk in memory. */
const loadInto = async (disk: MemoryDisk, folder: string): Promise<void> => {
  const raw = new Level<string, Uint8Array>(join(folder, 'ledger'), { valueEncoding: 'view' })
  for await (const [name, value] of raw.iterator()) {
    const [, table = '', key = ''] = name.split('!')
    disk.tables.get(table as Table)?.set(key, value)
  }
  await raw.close()
}

for (const version of [1, 2])
  describe(`a folder of version ${version}`, () => {
    test('opens with every call, lease, output and history row that it had, and again', async (context) => {
      const folder = await copyFixture(context, version)
      const first = await openStore(folder)
      const found = await checkStore(first)
      await first.close()
      const again = await openStore(folder)
      context.after(() => again.close())
      assert.equal(await checkStore(again), found)
    })

    test('serves: its calls stand in the queue, its leases are inherited', async (context) => {
      const expected = await readExpected()
      const folder = await copyFixture(context, version)
      // Of a coordinator that has started before, as its epoch tells.
      await createIdentity(join(folder, 'identity'))
      const rooms = await openRooms({ ...configFor(folder), home: folder }, quiet, () => false)
      context.after(() => rooms.close())
      for (const { id, seq } of expected.live) assert.equal(rooms.ledger.calls.get(id)?.seq, seq)
      assert.deepEqual([...rooms.ledger.leases.keys()].sort(), [...expected.leases].sort())
    })

    test('is the same after a migration that was cut off at any batch and begun again', async (context) => {
      const folder = await copyFixture(context, version)
      const whole = createStoreBench()
      await loadInto(whole.disk, folder)
      const migration = MIGRATIONS.find(({ from }) => from === version)
      assert.ok(migration !== undefined)
      let batches = 0
      const counting = whole.disk.openDrive({
        batch: () => {
          batches += 1
          return 'done'
        },
      })
      await migration.migrate(counting)
      const expected = await checkStore(await whole.open())
      assert.ok(batches >= 2)
      for (let cut = 0; cut < batches; cut += 1) {
        const bench = createStoreBench()
        await loadInto(bench.disk, folder)
        let left = cut
        const cutOff = bench.disk.openDrive({ batch: () => (left-- > 0 ? 'done' : 'lost') })
        await assert.rejects(migration.migrate(cutOff))
        bench.disk.crash()
        await migration.migrate(bench.disk.openDrive())
        assert.equal(await checkStore(await bench.open()), expected, `cut off at ${cut}`)
      }
    })
  })

test('folders of both versions come to the same', async (context) => {
  const found: string[] = []
  for (const version of [1, 2]) {
    const store = await openStore(await copyFixture(context, version))
    found.push(await checkStore(store))
    await store.close()
  }
  assert.equal(found[0], found[1])
})

test('a call of version 1 keeps all that it tells of its attempts and its acceptance', async () => {
  const { disk, open } = createStoreBench()
  const granted = [{ attempt: 2, epoch: 1, agentId: 'one', isLost: true }]
  const counts = { lastAttempt: 2, attemptsLost: 1, exitRetries: 3 }
  const head = { id: 'c1', funcId: 'f1', revision: 4, payloadBytes: 5 }
  const row = { ...head, seq: 1, accountId: 'a1', accepted: '2017-03-16T07:05:24.473Z' }
  disk.tables.get('call')?.set('1', sealRow({ ...row, granted, ...counts }))
  const migration = MIGRATIONS.find(({ from }) => from === 1)
  await migration?.migrate(disk.openDrive())
  const found = parseCallRow(await (await open()).get('call', '1'))
  assert.deepEqual(found, {
    ...{ ...head, acceptedMs: Date.parse('2017-03-16T07:05:24.473Z') },
    trials: { ...{ granted, ...counts }, ...{ failedForMs: 0, pauseMs: 0, waitedMs: 0 } },
  })
})
