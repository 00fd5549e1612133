import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Caches, createCaches } from '../../coordinator/caches.ts'
import { type HistoryRow, parseOutputRow, rowKey } from '../../coordinator/rows.ts'
import type { BodyKind, Operation, Sublevel } from '../../coordinator/store.ts'
import { limits } from '../../protocol/limits.ts'
import type { LogLine } from '../../protocol/log-line.ts'

const KiB = 1024
const MiB = 1024 * KiB
const minute = 60_000
const hour = 60 * minute
const wall = '2017-03-16T07:05:24.473Z'

/** Rows as they would be on disk; values as they are, for bodies are large and shared. */
const createRows = () => {
  const rows = new Map<string, unknown>()
  return {
    rows,
    write(operations: readonly Operation[]): void {
      for (const operation of operations) {
        const { type } = operation
        const isBody = type === 'put-body' || type === 'del-body'
        const key = `${isBody ? operation.kind : operation.sublevel} ${operation.key}`
        if (type === 'put') rows.set(key, operation.value)
        else if (type === 'put-body') rows.set(key, operation.bytes)
        else rows.delete(key)
      }
    },
    of: (sublevel: Sublevel | BodyKind, funcId = ''): [string, unknown][] =>
      [...rows]
        .filter(([key]) => key.startsWith(`${sublevel} ${funcId}`))
        .map(([key, value]) => [key.slice(sublevel.length + 1), value]),
  }
}
type Rows = ReturnType<typeof createRows>

const rowOf = (funcId: string, seq: number, isFinished = true): HistoryRow => ({
  ...{ id: `call-${seq}`, seq, funcId, accountId: 'a1', accepted: wall, ended: wall, attempt: 1 },
  outcome: {
    ...{ exitCode: 0, message: '' },
    ...(isFinished
      ? { state: 'finished', code: 'FINISHED' }
      : { state: 'failed', code: 'CALL_EXITED' }),
  },
})

const lineOf = (Message: string): Omit<LogLine, 'Seq' | 'Time'> => ({
  Event: 'CALL',
  CallId: 'c',
  ShortStdin: '',
  ShortStdout: '',
  ShortStderr: '',
  Message,
})

const sizeOf = (value: unknown): number =>
  value instanceof Uint8Array ? value.byteLength : Buffer.byteLength(JSON.stringify(value))
const counted = (entries: readonly [string, unknown][]): number =>
  entries.reduce((sum, [, value]) => sum + Math.max(sizeOf(value), KiB), 0)

const FUNCS = ['f1', 'f2']

const check = (caches: Caches, disk: Rows): void => {
  for (const funcId of FUNCS) {
    const outputs = disk.of('stdout', funcId)
    assert.equal(disk.of('output', funcId).length, outputs.length, 'each body has its row')
    const logs = disk.of('log', funcId)
    assert.deepEqual(caches.bytes(funcId), { outputs: counted(outputs), logs: counted(logs) })
    assert.ok(counted(outputs) <= 50 * MiB && counted(logs) <= 50 * MiB)
    const history = disk.of('history', funcId)
    const { finished, failed } = caches.counts(funcId)
    assert.equal(finished + failed, history.length)
    for (const [key] of outputs) {
      assert.ok(disk.rows.has(`history ${key}`), 'a row never goes before its output')
      assert.equal(caches.hasOutput(funcId, Number(key.split('/')[1])), true)
    }
  }
  assert.equal(disk.of('callid').length, disk.of('history').length)
  for (const [key] of disk.of('fetched')) assert.ok(disk.rows.has(`output ${key}`))
}

const restore = (disk: Rows, nowMs: number): Caches => {
  const caches = createCaches()
  const sorted = (sublevel: Sublevel) => disk.of(sublevel).sort(([a], [b]) => (a < b ? -1 : 1))
  for (const [, value] of sorted('history')) caches.restoreHistory(value as HistoryRow)
  for (const [key, value] of sorted('output')) {
    const [funcId = '', seq] = key.split('/')
    caches.restoreOutput(funcId, Number(seq), parseOutputRow(value).bytes)
  }
  for (const [key, value] of sorted('log')) {
    caches.restoreLog(key.split('/')[0] ?? '', value as LogLine)
  }
  const keysOf = (sublevel: Sublevel): Set<string> => new Set(disk.of(sublevel).map(([key]) => key))
  caches.finishRestore(keysOf('owed'), keysOf('fetched'), nowMs)
  return caches
}

const act = fc.record({
  kind: fc.constantFrom(
    ...(['end', 'end', 'end', 'owe', 'keep', 'drop', 'deliver', 'deliver'] as const),
    ...(['log', 'pass', 'remove', 'restart'] as const),
  ),
  func: fc.constantFrom(...FUNCS),
  bytes: fc.constantFrom(0, 1, KiB, 4 * MiB, 9 * MiB, 20 * MiB),
  pick: fc.nat(1000),
  ms: fc.constantFrom(1_000, minute, 13 * hour),
})
type Act = typeof act extends fc.Arbitrary<infer One> ? One : never

const body = new Uint8Array(20 * MiB)

/** Caches, the rows they write, and the calls whose bodies are owed. */
const createPlay = () => {
  const disk = createRows()
  let caches = createCaches()
  let nowMs = 0
  let seq = 0
  let owed: HistoryRow[] = []
  const takeDebt = (pick: number): HistoryRow | undefined =>
    owed.splice(pick % Math.max(owed.length, 1), 1)[0]
  const end = ({ func, pick, bytes }: Act, isOwed: boolean): Operation[] => {
    seq += 1
    const row = rowOf(func, seq, pick % 3 > 0)
    if (isOwed) {
      owed.push(row)
      disk.rows.set(`owed ${row.id}`, true)
    }
    return caches.addHistory(row, isOwed ? null : body.subarray(0, bytes), nowMs)
  }
  const remove = (funcId: string): void => {
    disk.write(caches.removeFunc(funcId))
    owed = owed.filter((row) => row.funcId !== funcId)
    for (const sublevel of ['history', 'output', 'stdout', 'log', 'fetched'] as const) {
      assert.equal(disk.of(sublevel, funcId).length, 0)
    }
  }
  const operationsOf = (one: Act): Operation[] => {
    const { kind, func, bytes, pick } = one
    if (kind === 'end' || kind === 'owe') return end(one, kind === 'owe')
    if (kind === 'log') {
      return caches.appendLog(func, wall, lineOf('x'.repeat(Math.min(bytes, 2 * KiB)))).operations
    }
    if (kind === 'deliver') {
      const [key] = disk.of('output', func)[pick % 50] ?? []
      return key === undefined ? [] : caches.markDelivered(func, Number(key.split('/')[1]), nowMs)
    }
    if (kind === 'pass') {
      nowMs += one.ms
      return caches.expire(nowMs)
    }
    const debt = kind === 'keep' || kind === 'drop' ? takeDebt(pick) : undefined
    if (debt === undefined) return []
    return kind === 'keep'
      ? caches.keepOutput(debt, body.subarray(0, bytes), nowMs)
      : caches.dropOutput(debt, nowMs)
  }
  return (one: Act): void => {
    if (one.kind === 'restart') caches = restore(disk, nowMs)
    else if (one.kind === 'remove' && one.pick % 4 === 0) remove(one.func)
    else disk.write(operationsOf(one))
    check(caches, disk)
    assert.equal(disk.of('owed').length, owed.length)
  }
}

const play = (acts: readonly Act[]): void => acts.forEach(createPlay())

describe('the caches', () => {
  test('have books that equal the rows, and never exceed 50 MB, after any sequence', () => {
    fc.assert(fc.property(fc.array(act, { minLength: 20, maxLength: 120 }), play), { numRuns: 150 })
  })

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
    assert.ok(!disk.rows.has(`log ${rowKey('f1', 6)}`) && disk.rows.has(`log ${rowKey('f1', 7)}`))
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
