import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  type BackupRecord,
  backupPrefix,
  checkBackupPrefix,
  createBackupEncoder,
  readBackup,
} from '../../protocol/backup.ts'
import { HyperError } from '../../protocol/errors.ts'

const HEAD: BackupRecord = { type: 'head', schema: 2, version: 'v', made: 'now', epoch: 7 }

const plain = { noNullPrototype: true }
const recordOf = fc.oneof(
  fc.record(
    {
      type: fc.constant('rows' as const),
      sublevel: fc.constantFrom('call', 'log'),
      rows: fc.array(fc.tuple(fc.string(), fc.oneof(fc.integer(), fc.string(), fc.uint8Array()))),
    },
    plain,
  ),
  fc.record(
    {
      ...{ type: fc.constant('body' as const), kind: fc.constant('stdout'), key: fc.string() },
      bytes: fc.uint8Array({ maxLength: 3000 }),
    },
    plain,
  ),
  fc.record(
    { type: fc.constant('file' as const), name: fc.string(), bytes: fc.uint8Array() },
    plain,
  ),
)

const encode = (records: readonly BackupRecord[], isEnded = true): Buffer => {
  const encoder = createBackupEncoder()
  const frames = records.map((record) => encoder.frame(record))
  return Buffer.concat(isEnded ? [...frames, encoder.end()] : frames)
}

/** In pieces of so many bytes. */
async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size)
}

const read = async (bytes: Uint8Array, size = 1000): Promise<BackupRecord[]> => {
  const records: BackupRecord[] = []
  for await (const record of readBackup(inPieces(bytes, size))) records.push(record)
  return records
}

const isDamaged = (error: unknown): boolean =>
  error instanceof HyperError && error.code === 'BACKUP_DAMAGED'

describe('a backup’s form', () => {
  test('gives back what was written, however the bytes are cut', async () => {
    const written = fc.array(recordOf, { maxLength: 20 })
    await fc.assert(
      fc.asyncProperty(written, fc.integer({ min: 1, max: 5000 }), async (records, size) => {
        const found = await read(encode([HEAD, ...records]), size)
        assert.deepEqual(found.slice(0, -1), [HEAD, ...records])
        assert.equal(found.at(-1)?.type, 'end')
      }),
      { numRuns: 100 },
    )
  })

  test('tells every cut and every changed bit', async () => {
    const bytes = encode([
      HEAD,
      { type: 'rows', sublevel: 'call', rows: [['1', { a: 1 }]] },
      { type: 'body', kind: 'stdout', key: 'f/1', bytes: Uint8Array.of(1, 2, 3) },
    ])
    for (let at = 0; at < bytes.byteLength; at += 1) {
      await assert.rejects(read(bytes.subarray(0, at)), isDamaged, `cut at ${at}`)
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ 0x10
      await assert.rejects(read(changed), isDamaged, `changed at ${at}`)
    }
    await assert.rejects(read(Buffer.concat([bytes, Buffer.of(0)])), isDamaged)
  })

  test('tells a frame that is missing, doubled, or in another place', async () => {
    const row = (key: string): BackupRecord => ({ type: 'rows', sublevel: 'log', rows: [[key, 1]] })
    const records = [HEAD, row('a'), row('b'), row('c')]
    const encoder = createBackupEncoder()
    const [head, a, b, c] = records.map((record) => encoder.frame(record))
    const end = encoder.end()
    assert.ok(head && a && b && c)
    await read(Buffer.concat([head, a, b, c, end]))
    const orders = [
      [head, a, c, end],
      [head, a, b, b, c, end],
      [head, b, a, c, end],
      [a, b, c, end],
      [head, head, a, b, c, end],
      [head, a, b, c],
      [head, a, b, c, end, end],
      [end],
    ]
    for (const frames of orders) await assert.rejects(read(Buffer.concat(frames)), isDamaged)
  })

  test('passes on why a coordinator gave up', async () => {
    const failed: BackupRecord = { type: 'failed', code: 'BACKUP_TOO_SLOW', message: 'too slow' }
    await assert.rejects(read(encode([HEAD, failed], false)), { code: 'BACKUP_TOO_SLOW' })
  })

  test('is known by its first bytes, and a later one as such', () => {
    checkBackupPrefix(backupPrefix(), 'x')
    for (const text of ['', 'HYPERBA', 'HYPERBAK', '\x1f\x8b\x08 something packed']) {
      assert.throws(() => checkBackupPrefix(Buffer.from(text), 'x'), { code: 'NOT_A_BACKUP' })
    }
    const later = Buffer.from(backupPrefix())
    later.writeUInt32BE(2, 8)
    assert.throws(() => checkBackupPrefix(later, 'x'), { code: 'STATE_TOO_NEW' })
  })
})
