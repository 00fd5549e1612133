import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createCaches } from '../../coordinator/caches.ts'
import { parseLogKey } from '../../coordinator/log-key.ts'
import { type HistoryRow, rowKey } from '../../coordinator/rows.ts'
import { limits } from '../../protocol/limits.ts'
import { createRows, lineOf, restore, rowOf, wall } from '../support/cache-rows.ts'

const KiB = 1024
const MiB = 1024 * KiB
const minute = 60_000
const hour = 60 * minute

const body = new Uint8Array(20 * MiB)

describe('the caches', () => {
  test('let the oldest output out first, and its row stays', () => {
    const caches = createCaches()
    const disk = createRows()
    for (let seq = 1; seq <= 53; seq += 1) {
      disk.write(caches.addHistory(rowOf('f1', seq), body.subarray(0, MiB), 0))
    }
    const cached = Array.from({ length: 53 }, (_, at) => caches.hasOutput('f1', at + 1))
    assert.deepEqual(cached.slice(0, 5), [false, false, false, true, true])
    assert.equal(disk.of('history').length, 53)
    assert.equal(caches.bytes('f1').outputs, 50 * MiB)
  })

  test('let outputs out in the order in which they came, also after a restart', () => {
    let caches = createCaches()
    const disk = createRows()
    const [late, early] = [rowOf('f1', 1), rowOf('f1', 2)]
    disk.write(caches.addHistory(late, null, 0))
    disk.write(caches.addHistory(early, body.subarray(0, 20 * MiB), 0))
    disk.write(caches.keepOutput(late, body.subarray(0, 20 * MiB), 0))
    caches = restore(disk, 0)
    disk.write(caches.addHistory(rowOf('f1', 3), body.subarray(0, 20 * MiB), 0))
    assert.deepEqual(
      [1, 2, 3].map((seq) => caches.hasOutput('f1', seq)),
      [true, false, true],
    )
    caches = restore(disk, 0)
    disk.write(caches.addHistory(rowOf('f1', 4), body.subarray(0, 20 * MiB), 0))
    assert.equal(caches.hasOutput('f1', 1), false)
  })

  test('keep a STDERR only where its line does not show the same bytes', () => {
    const caches = createCaches()
    const disk = createRows()
    const end = (seq: number, stderr: Uint8Array): void => {
      disk.write(caches.addHistory(rowOf('f1', seq), new Uint8Array(), 0))
      disk.write(caches.appendLog('f1', wall, lineOf(''), { seq, stderr }).operations)
    }
    end(1, Buffer.from('é'.repeat(127)))
    end(2, Buffer.from('é'.repeat(128)))
    end(3, Uint8Array.of(0x66, 0xff))
    end(4, Buffer.from('\ufefftext'))
    assert.deepEqual(
      disk.of('stderr').map(([key]) => key),
      [rowKey('f1', 2), rowKey('f1', 3), rowKey('f1', 4)],
    )
    assert.equal(caches.stderrOf('f1', 5), null)
  })

  test('let a STDERR out with its line, and at the latest with its history row', () => {
    const caches = createCaches()
    const disk = createRows()
    const stderr = body.subarray(0, 20 * MiB)
    for (const seq of [1, 2, 3]) {
      disk.write(caches.addHistory(rowOf('f1', seq), null, 0))
      disk.write(caches.appendLog('f1', wall, lineOf(''), { seq, stderr }).operations)
    }
    assert.equal(caches.stderrOf('f1', 1), null)
    assert.equal(disk.of('log').length, 2)
    disk.write(caches.dropOutput(rowOf('f1', 2), 0))
    disk.write(caches.expire(limits.historyMs))
    assert.deepEqual(
      disk.of('stderr').map(([key]) => key),
      [rowKey('f1', 3)],
    )
    assert.equal(disk.of('log').length, 2, 'the line stays')
    assert.equal(caches.bytes('f1').logs, 20 * MiB + 2 * KiB)
    assert.equal(restore(disk, 0).bytes('f1').logs, 20 * MiB + 2 * KiB)
  })

  test('write history rows of at most 1 KB, whatever is said of a call', () => {
    const long = '\u{2028}'.repeat(limits.historyMessageBytesMax / 3 - 1)
    const id = '218b7b10-8a04-4d3c-8a44-0d2b6d1f6c5e'
    const row: HistoryRow = {
      ...rowOf(id, Number.MAX_SAFE_INTEGER),
      ...{ id, accountId: id, attempt: 1_000_000 },
      outcome: { state: 'cancelled', code: 'COMMAND_NOT_EXECUTABLE', exitCode: 255, message: long },
    }
    createCaches().addHistory(row, null, 0)
    const longer = { ...row, outcome: { ...row.outcome, message: long.repeat(2) } }
    assert.throws(() => createCaches().addHistory(longer, null, 0), /a history row is small/)
  })

  test('count an empty entry as 1 KB', () => {
    const caches = createCaches()
    caches.addHistory(rowOf('f1', 1), new Uint8Array(), 0)
    caches.appendLog('f1', wall, lineOf(''))
    assert.deepEqual(caches.bytes('f1'), { outputs: KiB, logs: KiB })
  })

  test('let the oldest log lines out first, and number them on', () => {
    const caches = createCaches()
    const disk = createRows()
    const line = lineOf('x'.repeat(MiB))
    for (let n = 0; n < 55; n += 1) disk.write(caches.appendLog('f1', wall, line).operations)
    assert.equal(disk.of('log').length, 49)
    const [oldest = ''] = disk
      .of('log')
      .map(([key]) => key)
      .sort()
    assert.equal(parseLogKey(oldest).line.seq, 7)
    assert.equal(restore(disk, 0).appendLog('f1', wall, line).line.Seq, 56)
  })

  test('keep a delivered output for 60 s from its first delivery, also over a restart', () => {
    let caches = createCaches()
    const disk = createRows()
    disk.write(caches.addHistory(rowOf('f1', 1), body.subarray(0, 5), 0))
    disk.write(caches.expire(hour))
    assert.equal(caches.hasOutput('f1', 1), true, 'what was not delivered stays')
    disk.write(caches.markDelivered('f1', 1, hour))
    assert.deepEqual(caches.markDelivered('f1', 1, hour + 30_000), [])
    disk.write(caches.expire(hour + minute - 1))
    assert.equal(caches.hasOutput('f1', 1), true)
    caches = restore(disk, hour + minute - 1)
    disk.write(caches.expire(hour + 2 * minute - 1))
    assert.equal(caches.hasOutput('f1', 1), false)
    assert.deepEqual([...disk.rows.keys()].sort(), ['callid call-1', `history ${rowKey('f1', 1)}`])
  })

  test('keep a row for 24 h after its output went, and one whose output is owed for as long', () => {
    const caches = createCaches()
    const disk = createRows()
    disk.write(caches.addHistory(rowOf('f1', 1), null, 0))
    disk.write(caches.addHistory(rowOf('f1', 2), null, 0))
    disk.write(caches.dropOutput(rowOf('f1', 1), 1_000))
    disk.write(caches.expire(limits.historyMs))
    assert.equal(disk.of('history').length, 2)
    disk.write(caches.expire(limits.historyMs + 2 * minute))
    assert.deepEqual(
      disk.of('history').map(([key]) => key),
      [rowKey('f1', 2)],
    )
  })

  test('keep the newest 10,000 rows whose output went, beside those that have one', () => {
    const caches = createCaches()
    const disk = createRows()
    const last = limits.historyRowsMax + 10
    for (let seq = 1; seq <= last; seq += 1) {
      disk.write(caches.addHistory(rowOf('f1', seq), null, 0))
      disk.write(caches.dropOutput(rowOf('f1', seq), 0))
    }
    for (let seq = last + 1; seq <= last + 20; seq += 1) {
      disk.write(caches.addHistory(rowOf('f1', seq), body.subarray(0, 9), 0))
    }
    const keys = new Set(disk.of('history').map(([key]) => key))
    assert.equal(keys.size, limits.historyRowsMax + 20)
    assert.deepEqual([keys.has(rowKey('f1', 10)), keys.has(rowKey('f1', 11))], [false, true])
  })
})
