import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Caches, createCaches } from '../../coordinator/caches.ts'
import { parseLogKey } from '../../coordinator/log-key.ts'
import { type HistoryRow, rowKey } from '../../coordinator/rows.ts'
import type { Operation } from '../../coordinator/store/store.ts'
import { createRows, lineOf, type Rows, restore, rowOf, wall } from '../support/cache-rows.ts'

const KiB = 1024
const MiB = 1024 * KiB
const minute = 60_000
const hour = 60 * minute

const sizeOf = (value: unknown): number => {
  if (value instanceof Uint8Array) return value.byteLength
  return Buffer.byteLength(JSON.stringify(value))
}
const counted = (entries: readonly [string, unknown][]): number =>
  entries.reduce((sum, [, value]) => sum + Math.max(sizeOf(value), KiB), 0)

const FUNCS = ['f1', 'f2']

/** Each body has its line and its history row, and the other way round; their bytes. */
const checkStderr = (caches: Caches, disk: Rows, funcId: string): number => {
  const expected = disk.of('log', funcId).flatMap(([lineKey]) => {
    const { end } = parseLogKey(lineKey).line
    const key = end === null ? '' : rowKey(funcId, end.seq)
    if (end === null || !disk.rows.has(`history ${key}`)) return []
    const place = { lineKey, hasBody: end.stderrBytes > 0 }
    assert.deepEqual(caches.stderrOf(funcId, end.seq), place)
    return end.stderrBytes === 0 ? [] : [[key, end.stderrBytes] as const]
  })
  const bodies = disk.of('stderr', funcId).map(([key, value]) => [key, sizeOf(value)] as const)
  assert.deepEqual(new Map(bodies), new Map(expected))
  return bodies.reduce((sum, [, bytes]) => sum + bytes, 0)
}

const check = (caches: Caches, disk: Rows): void => {
  for (const funcId of FUNCS) {
    const outputs = disk.of('stdout', funcId)
    assert.equal(disk.of('output', funcId).length, outputs.length, 'each body has its row')
    const logs = disk.of('log', funcId)
    const logBytes = counted(logs) + checkStderr(caches, disk, funcId)
    assert.deepEqual(caches.bytes(funcId), { outputs: counted(outputs), logs: logBytes })
    assert.ok(counted(outputs) <= 50 * MiB && logBytes <= 50 * MiB)
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

const act = fc.record({
  kind: fc.constantFrom(
    ...(['end', 'end', 'end', 'owe', 'keep', 'drop', 'deliver', 'deliver'] as const),
    ...(['log', 'pass', 'remove', 'restart'] as const),
  ),
  func: fc.constantFrom(...FUNCS),
  bytes: fc.constantFrom(0, 1, KiB, 4 * MiB, 9 * MiB, 20 * MiB),
  stderrBytes: fc.constantFrom(0, 255, 256, 64 * KiB, 9 * MiB, 20 * MiB),
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
  const end = ({ func, pick, bytes, stderrBytes }: Act, isOwed: boolean): Operation[] => {
    seq += 1
    const row = rowOf(func, seq, pick % 3 > 0)
    if (isOwed) {
      owed.push(row)
      disk.rows.set(`owed ${row.id}`, true)
    }
    return [
      ...caches.addHistory(row, isOwed ? null : body.subarray(0, bytes), nowMs),
      ...caches.appendLog(func, wall, lineOf(''), { seq, stderr: body.subarray(0, stderrBytes) })
        .operations,
    ]
  }
  const remove = (funcId: string): void => {
    disk.write([...caches.removeFunc(funcId)].flat())
    owed = owed.filter((row) => row.funcId !== funcId)
    for (const sublevel of ['history', 'output', 'stdout', 'stderr', 'log', 'fetched'] as const) {
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

describe('the books of the caches', () => {
  test('equal the rows, and never exceed 50 MB, after any sequence', () => {
    fc.assert(fc.property(fc.array(act, { minLength: 20, maxLength: 120 }), play), { numRuns: 150 })
  })
})
