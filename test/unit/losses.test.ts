/** A start that finds rows which have lost what they belong to. */

import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { encodeCallRow } from '../../coordinator/call-row.ts'
import { openRooms } from '../../coordinator/rooms.ts'
import { type HistoryRow, rowKey } from '../../coordinator/rows.ts'
import {
  numberKey,
  type Operation,
  openStore,
  put,
  putBody,
} from '../../coordinator/store/store.ts'
import { toHyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { putLine, rowOf, wall } from '../support/cache-rows.ts'
import { configFor } from '../support/coordinator.ts'
import { storedFunc } from '../support/fake-ports.ts'
import { quiet } from '../support/mesh.ts'

const account = {
  ...{ id: 'a1', name: 'default', quota: 10, operator: true, accessKey: 'A', secretKey: 'S' },
  ...{ tokenHash: 'h', created: wall },
}
const func = storedFunc()
const call = (seq: number, funcId: string) =>
  encodeCallRow({
    ...{ id: `c${seq}`, funcId, revision: 1, acceptedMs: 0, payloadBytes: 0, trials: null },
  })
const history = (row: HistoryRow): Operation[] => [
  put('history', rowKey(row.funcId, row.seq), row),
  put('callid', row.id, { funcId: row.funcId, seq: row.seq }),
]

/** Sound: one account, one function, an ended call with its output. */
const SOUND: readonly Operation[] = [
  put('account', 'a1', account),
  put('func', `a1/f1/${numberKey(1)}`, func),
  ...history(rowOf('f1', 1)),
  put('output', rowKey('f1', 1), { bytes: 3, order: 1 }),
  putBody('stdout', rowKey('f1', 1), Buffer.from('abc')),
  put('meta', 'seq', 100),
]

const LOSSES: readonly (readonly [RegExp, readonly Operation[]])[] = [
  [/the call c2 has lost its function/, [put('call', numberKey(2), call(2, 'gone'))]],
  [/history row of call-3 has lost its function/, history(rowOf('gone', 3))],
  [/output f1\/0*4 has lost its history/, [put('output', rowKey('f1', 4), { bytes: 1, order: 1 })]],
  [/f1\/0*5 was fetched and is not there/, [put('fetched', rowKey('f1', 5), true)]],
  [
    /owed output of c6 has lost its history/,
    [
      put('owed', 'c6', {
        ...{ funcId: 'f1', seq: 6, agentId: 'one' },
        key: { call: '00000000-0000-4000-8000-000000000006', attempt: 1, epoch: 1 },
      }),
    ],
  ],
  [/the log of gone has lost its function/, [putLine('gone', 1, 'x')]],
  [/number of the next call was lost/, [put('meta', 'seq', 1)]],
]

const start = async (t: TestContext, operations: readonly Operation[], acceptDataLoss = false) => {
  const folder = await mkdtemp(join(tmpdir(), 'losses-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const config = { ...configFor(folder), acceptDataLoss }
  const store = await openStore(config.home)
  await store.commit([...SOUND, ...operations])
  await store.close()
  const told: unknown[] = []
  const log = quiet.child({})
  log.warn = (fields: unknown) => void told.push(fields)
  const open = async () => {
    const rooms = await openRooms(config, log, () => false)
    let closed: Promise<void> | undefined
    const close = (): Promise<void> => {
      closed ??= rooms.close()
      return closed
    }
    t.after(close)
    return { ...rooms, close }
  }
  return { open, told, config }
}

describe('a start', () => {
  test('is no loss where the state is sound', async (t) => {
    const { open, told } = await start(t, [])
    const rooms = await open()
    assert.deepEqual(rooms.calls.counts('f1'), { pending: 0, running: 0, finished: 1, failed: 0 })
    await rooms.close()
    assert.deepEqual(told, [])
  })

  for (const [what, operations] of LOSSES) {
    test(`names a loss and is refused, unless it is accepted: ${what.source}`, async (t) => {
      const refused = await start(t, operations)
      await assert.rejects(refused.open(), (error) => {
        const { code, message, line } = toHyperError(error)
        assert.equal(code, 'STATE_DAMAGED')
        assert.match(message, what)
        assert.match(line, /hyper restore FILE.*--accept-data-loss/)
        return true
      })
      const accepted = await start(t, operations, true)
      const rooms = await accepted.open()
      assert.match(JSON.stringify(accepted.told), what)
      const found = await rooms.calls.answer('f1', 'call-1')
      assert.equal(`${Buffer.from(found?.body ?? [])}`, 'abc', 'the rest is there')
      await rooms.close()
      const again = await openRooms(
        { ...accepted.config, acceptDataLoss: false },
        quiet,
        () => false,
      )
      await again.close()
    })
  }

  test('refuses a state whose file of an output is missing, and accepts the loss by the flag', async (t) => {
    const large = [
      ...history(rowOf('f1', 8)),
      put('output', rowKey('f1', 8), { bytes: 100_000, order: 2 }),
      putBody('stdout', rowKey('f1', 8), Buffer.alloc(100_000)),
    ]
    for (const isAccepted of [false, true]) {
      const { open, told, config } = await start(t, large, isAccepted)
      const blobs = join(config.home, 'blobs')
      for (const name of await readdir(blobs)) await rm(join(blobs, name))
      if (!isAccepted) {
        await assert.rejects(open(), /call call-8/)
        continue
      }
      const rooms = await open()
      assert.match(JSON.stringify(told), /call call-8/)
      assert.equal((await rooms.calls.answer('f1', 'call-8'))?.httpStatus, 410)
      assert.equal((await rooms.calls.answer('f1', 'call-1'))?.httpStatus, 200)
      await rooms.close()
    }
  })

  test('that refuses names some of many, and counts the rest', async (t) => {
    const many = Array.from({ length: limits.lossesNamedMax + 4 }, (_, n) =>
      put('call', numberKey(10 + n), call(10 + n, 'gone')),
    )
    const { open } = await start(t, many)
    await assert.rejects(open(), /call c10 has.*call c29 has lost its function; 4 more/)
  })
})
