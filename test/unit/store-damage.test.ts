/** What a disk lost or brought back behind the store's back. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { encodeCallRow } from '../../coordinator/call-row.ts'
import { parseLogKey } from '../../coordinator/log-key.ts'
import { rowKey } from '../../coordinator/rows.ts'
import { encodeRow } from '../../coordinator/store/row-form.ts'
import {
  del,
  numberKey,
  put,
  putBody,
  type Store,
  SUBLEVELS,
} from '../../coordinator/store/store.ts'
import type { Table } from '../../coordinator/store/tables.ts'
import { HyperError } from '../../protocol/errors.ts'
import { lineOf, putLine, rowOf, wall } from '../support/cache-rows.ts'
import type { MemoryDisk } from '../support/memory-drive.ts'
import { createStoreBench, INLINE_BYTES_MAX } from '../support/store-bench.ts'

const [three, four] = [rowKey('f1', 3), rowKey('f1', 4)]
const small = new Uint8Array(INLINE_BYTES_MAX)
const large = new Uint8Array(INLINE_BYTES_MAX + 1)

const callRow = (id: string): unknown =>
  encodeCallRow({
    ...{ id, funcId: 'f1', revision: 1, acceptedMs: 0, payloadBytes: 0, trials: null },
  })

/** Two calls that wait, two that ended, a log. */
const fill = async (store: Store): Promise<void> => {
  const ended = (seq: number, bytes: Uint8Array) => {
    const row = rowOf('f1', seq)
    const key = rowKey('f1', seq)
    return [
      put('history', key, row),
      put('callid', row.id, { funcId: 'f1', seq }),
      put('output', key, { bytes: bytes.byteLength, order: seq }),
      putBody('stdout', key, bytes),
    ]
  }
  await store.commit([
    put('account', 'a1', { quota: 1 }),
    put('call', numberKey(1), callRow('call-1')),
    putBody('input', numberKey(1), small),
    put('call', numberKey(2), callRow('call-2')),
    putBody('input', numberKey(2), large),
  ])
  await store.commit([...ended(3, small), ...ended(4, large)])
  const lines = [1, 2, 3].map((seq) => putLine('f1', seq, 'x'))
  await store.commit([...lines, put('meta', 'seq', 5)])
  // Two that ended a call of which the history row stands, one of which it has gone.
  const ends = [3, 4, 1].map((seq, at) => putLine('f1', 4 + at, 'x', { seq, stderrBytes: 17 }))
  const stderrs = [putBody('stderr', three, small), putBody('stderr', four, large)]
  await store.commit([...ends, ...stderrs])
}

const readAll = async (store: Store): Promise<void> => {
  for (const sublevel of SUBLEVELS) {
    await store.scan(sublevel, () => undefined)
  }
  await store.verify()
}

/** A filled disk. */
const damageable = async () => {
  const bench = createStoreBench()
  const store = await bench.open()
  await fill(store)
  await readAll(store)
  await store.close()
  return bench
}

const rowsOf = (disk: MemoryDisk, table: Table): Map<string, Uint8Array> => {
  const rows = disk.tables.get(table)
  assert.ok(rows !== undefined)
  return rows
}

const lineKey = (disk: MemoryDisk, seq: number): string =>
  [...rowsOf(disk, 'log').keys()].find((key) => parseLogKey(key).line.seq === seq) ?? ''

const change = (disk: MemoryDisk, table: Table, key: string, at = 5): void => {
  const sealed = rowsOf(disk, table).get(key)
  assert.ok(sealed !== undefined)
  sealed[at] = (sealed[at] ?? 0) ^ 1
}

/** What happens to the disk, what the refusal says, and what of the calls is left if it is accepted. */
const DAMAGES: readonly (readonly [string, (disk: MemoryDisk) => void, RegExp])[] = [
  [
    'a call',
    (disk) => rowsOf(disk, 'call').delete(numberKey(1)),
    /call has 1 row, 2 were written; call number 1 is lost, its input is left/,
  ],
  [
    'the small input of a call',
    (disk) => rowsOf(disk, 'input').delete(numberKey(1)),
    /input has 0 rows, 1 was written; call call-1 has lost its input/,
  ],
  [
    'the large input of a call, file and pointer',
    (disk) => {
      disk.files.delete(`input.${numberKey(2)}.1`)
      rowsOf(disk, 'blob').delete(`input/${numberKey(2)}`)
    },
    /blob has 2 rows, 3 were written; call call-2 has lost its input/,
  ],
  [
    'the file of a large body',
    (disk) => disk.files.delete(`stdout.f1.${numberKey(4)}.2`),
    /the file stdout\.f1\.0*4\.2 is missing; the output of call call-4 is lost/,
  ],
  [
    'a history row',
    (disk) => rowsOf(disk, 'history').delete(three),
    /history has 1 row, 2 were written; the history of call call-3 is lost/,
  ],
  [
    'the id of an ended call',
    (disk) => rowsOf(disk, 'callid').delete('call-4'),
    /call call-4 could not be found by its id; it can be again/,
  ],
  [
    'the small body of an output',
    (disk) => rowsOf(disk, 'stdout').delete(three),
    /the output of call call-3 is lost/,
  ],
  [
    'the row of an output',
    (disk) => rowsOf(disk, 'output').delete(four),
    /output f1\/0*4 has lost its row, its body is left/,
  ],
  [
    'a line in the middle of a log',
    (disk) => rowsOf(disk, 'log').delete(lineKey(disk, 2)),
    /log has 5 rows, 6 were written; log line 2 of function f1/,
  ],
  [
    'the small STDERR beside a line',
    (disk) => rowsOf(disk, 'stderr').delete(three),
    /stderr has 0 rows, 1 was written; the STDERR of call call-3 is lost$/,
  ],
  [
    'the file of a large STDERR',
    (disk) => disk.files.delete(`stderr.f1.${numberKey(4)}.4`),
    /the file stderr\.f1\.0*4\.4 is missing; the STDERR of call call-4 is lost$/,
  ],
  [
    'the line of a STDERR',
    (disk) => rowsOf(disk, 'log').delete(lineKey(disk, 5)),
    /log line 5 of function f1 are lost; STDERR f1\/0*4 has lost its line or its call, its body is left$/,
  ],
  [
    'a row whose bytes rotted',
    (disk) => change(disk, 'call', numberKey(1)),
    /call\/0*1 cannot be read/,
  ],
  [
    'the checksum of a row',
    (disk) => change(disk, 'history', three, 0),
    /history\/f1\/0*3 cannot be read/,
  ],
  [
    'a pointer that rotted',
    (disk) => change(disk, 'blob', `stdout/${four}`),
    /blob\/stdout\/f1\/0*4 cannot be read/,
  ],
  [
    'an account, which nothing else speaks of',
    (disk) => rowsOf(disk, 'account').delete('a1'),
    /account has 0 rows, 1 was written/,
  ],
  [
    'the last value of a row: a former one is back',
    (disk) => rowsOf(disk, 'meta').set('seq', encodeRow(1)),
    /meta has 1 row, and not all are the last that were written/,
  ],
  [
    'a deletion: a row is back',
    (disk) => rowsOf(disk, 'lease').set('x', encodeRow(1)),
    /lease has 1 row, 0 were written/,
  ],
  [
    'the sums',
    (disk) => rowsOf(disk, 'sums').clear(),
    /the sums of the stored rows cannot be read/,
  ],
  [
    'the bytes of the sums',
    (disk) => change(disk, 'sums', 'all'),
    /the sums of the stored rows cannot be read/,
  ],
]

describe('a disk that lost', () => {
  for (const [what, damage, said] of DAMAGES) {
    test(`${what} is refused by name, and changed by nothing but the operator’s word`, async () => {
      const bench = await damageable()
      damage(bench.disk)
      for (let start = 0; start < 2; start += 1) {
        await assert.rejects(
          async () => readAll(await bench.open()),
          (error: unknown) => {
            assert.ok(error instanceof HyperError && error.code === 'STATE_DAMAGED')
            assert.match(error.message, said)
            return true
          },
        )
      }
      const accepted = await bench.accept()
      assert.match(bench.losses.join('; '), said)
      await readAll(accepted)
      await accepted.commit([put('lease', 'new', 1), putBody('input', numberKey(9), large)])
      await accepted.close()
      await readAll(await bench.open())
    })
  }

  test('nothing is opened without a word, also where the operator would accept a loss', async () => {
    const bench = await damageable()
    await readAll(await bench.accept())
    assert.deepEqual(bench.losses, [])
  })

  test('calls keep the halves that are left: an output without its call’s id is found again', async () => {
    const bench = await damageable()
    rowsOf(bench.disk, 'callid').delete('call-4')
    const store = await bench.accept()
    assert.deepEqual(await store.get('callid', 'call-4'), { funcId: 'f1', seq: 4 })
    assert.deepEqual(await store.body('stdout', four), large)
  })

  test('a STDERR that is lost is said to be gone, and one without its line goes', async () => {
    const bench = await damageable()
    rowsOf(bench.disk, 'stderr').delete(three)
    rowsOf(bench.disk, 'log').delete(lineKey(bench.disk, 5))
    const store = await bench.accept()
    assert.equal(await store.body('stderr', four), undefined)
    const endOf = (seq: number) => parseLogKey(lineKey(bench.disk, seq)).line.end
    assert.equal(endOf(4), null)
    assert.deepEqual(endOf(6), { seq: 1, stderrBytes: 17 })
    assert.deepEqual(await store.get('log', lineKey(bench.disk, 4)), {
      ...{ Seq: 4, Time: wall, ...lineOf('x') },
    })
  })

  test('a rotten body is never given, and named when it is read', async () => {
    const bench = await damageable()
    change(bench.disk, 'input', numberKey(1))
    const file = bench.disk.files.get(`stdout.f1.${numberKey(4)}.2`)
    assert.ok(file !== undefined)
    file[3] = 7
    const store = await bench.open()
    await readAll(store)
    await assert.rejects(store.body('input', numberKey(1)), /input\/0*1/)
    await assert.rejects(store.body('stdout', four), /the file of stdout\/f1\/0*4 does not match/)
  })

  test('a row that is lost after the start is named when it is read, and is not taken for none', async () => {
    const bench = await damageable()
    const store = await bench.open()
    await readAll(store)
    rowsOf(bench.disk, 'history').delete(three)
    await assert.rejects(store.get('history', three), /history\/f1\/0*3 is lost/)
    rowsOf(bench.disk, 'stdout').delete(three)
    await assert.rejects(store.body('stdout', three), /stdout\/f1\/0*3 is lost/)
    assert.equal(await store.get('history', 'f1/none'), undefined)
    await store.commit([del('history', three)])
    assert.equal(await store.get('history', three), undefined)
  })

  test('files that nothing points to are swept, whatever their names', async () => {
    const bench = await damageable()
    const before = [...bench.disk.files.keys()]
    const strays = ['x', 'input.9.9', `stdout.f1.${numberKey(4)}.1`, `input.${numberKey(2)}.7`]
    for (const name of strays) bench.disk.files.set(name, small)
    await readAll(await bench.open())
    assert.deepEqual([...bench.disk.files.keys()], before)
  })
})
