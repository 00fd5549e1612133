/** The small parts of the store: files on their way out, tombstones, pages. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { logKey } from '../../coordinator/log-key.ts'
import { createRemovals } from '../../coordinator/store/removals.ts'
import { createTombstones } from '../../coordinator/store/tombstones.ts'
import { limits } from '../../protocol/limits.ts'

const unexpected = (trouble: string): never => assert.fail(trouble)

describe('removals', () => {
  test('wait for the snapshot that may still read the files', async () => {
    const removed: string[] = []
    const drive = { removeFiles: async (names: readonly string[]) => void removed.push(...names) }
    const removals = createRemovals(drive, unexpected)
    removals.remove(['a'])
    const pin = removals.pin()
    removals.remove(['b'])
    await removals.settled()
    assert.deepEqual(removed, ['a'])
    pin.release()
    await removals.settled()
    assert.deepEqual(removed, ['a', 'b'])
  })

  test('that fail are told, and stop nothing', async () => {
    const troubles: string[] = []
    const drive = { removeFiles: () => Promise.reject(new Error('read-only')) }
    const removals = createRemovals(drive, (trouble) => troubles.push(trouble))
    removals.remove(['a'])
    removals.remove(['b'])
    await removals.settled()
    assert.deepEqual(troubles, Array(2).fill('files could not be removed: read-only'))
  })
})

describe('tombstones', () => {
  const dels = (table: 'log' | 'callid', keyOf: (n: number) => string, count: number) =>
    Array.from({ length: count }, (_, n) => ({ type: 'del' as const, table, key: keyOf(n) }))
  const lineOf = (funcId: string) => (n: number) =>
    logKey(funcId, {
      seq: n + 1,
      bytes: 100 + n,
      end: n % 2 === 0 ? null : { seq: n, stderrBytes: 0 },
    })

  test('are compacted away where many of one place have gathered, and only there', async () => {
    const compacted: string[][] = []
    const tombstones = createTombstones(async (...range) => void compacted.push(range), unexpected)
    const many = limits.tombstonesMax
    const last = lineOf('f')(many)
    tombstones.note(dels('callid', (n) => `${n}`, many))
    tombstones.note(dels('log', lineOf('f'), many - 1))
    tombstones.note(dels('log', lineOf('g'), many - 1))
    await tombstones.settled()
    assert.deepEqual(compacted, [])
    tombstones.note([{ type: 'del', table: 'log', key: last }])
    await tombstones.settled()
    assert.deepEqual(compacted, [['log', lineOf('f')(0), last]])
    tombstones.note(dels('log', lineOf('f'), many - 1))
    await tombstones.settled()
    assert.equal(compacted.length, 1, 'the count began anew')
  })
})
