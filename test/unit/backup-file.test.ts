/** The file of `hyper backup`: proven while it is written, and there whole or not at all. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { writeBackupFile } from '../../cli/backup-file.ts'
import { type BackupRecord, backupPrefix, createBackupEncoder } from '../../protocol/backup.ts'
import { toHyperError } from '../../protocol/errors.ts'

const HEAD: BackupRecord = { type: 'head', schema: 2, version: 'v', made: 'now', epoch: 7 }
const BODY: BackupRecord = {
  ...{ type: 'body', kind: 'stdout', key: 'f/1' },
  bytes: randomBytes(50_000),
}

const encode = (records: readonly BackupRecord[], isEnded = true): Buffer => {
  const encoder = createBackupEncoder()
  const frames = records.map((record) => encoder.frame(record))
  return Buffer.concat([
    backupPrefix(),
    gzipSync(Buffer.concat(isEnded ? [...frames, encoder.end()] : frames)),
  ])
}

const WHOLE = encode([HEAD, BODY])

async function* arrive(bytes: Uint8Array, failure?: Error): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 1000) yield bytes.subarray(at, at + 1000)
  if (failure !== undefined) throw failure
}

const prepare = async (t: TestContext) => {
  const folder = await mkdtemp(join(tmpdir(), 'backup-file-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'file')
  await writeFile(path, 'the former one')
  return { folder, path }
}

test('a whole one replaces the former one, private and byte for byte', async (t) => {
  const { folder, path } = await prepare(t)
  const { bytes, rows, bodies, head } = await writeBackupFile(path, arrive(WHOLE))
  assert.deepEqual([bytes, rows, bodies, head], [WHOLE.byteLength, 0, 1, HEAD])
  assert.deepEqual(await readFile(path), WHOLE)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(folder), ['file'])
})

test('one that is cut, changed, foreign, given up or broken off leaves the former one', async (t) => {
  const { folder, path } = await prepare(t)
  const changed = Buffer.from(WHOLE)
  changed[WHOLE.byteLength >> 1] = (changed[WHOLE.byteLength >> 1] ?? 0) ^ 1
  const failed: BackupRecord = { type: 'failed', code: 'BACKUP_TOO_SLOW', message: 'too slow' }
  const table: readonly (readonly [string, AsyncGenerator<Uint8Array>])[] = [
    ['BACKUP_DAMAGED', arrive(WHOLE.subarray(0, WHOLE.byteLength - 1))],
    ['BACKUP_DAMAGED', arrive(WHOLE.subarray(0, 1000))],
    ['BACKUP_DAMAGED', arrive(encode([HEAD, BODY], false))],
    ['BACKUP_DAMAGED', arrive(changed)],
    ['BACKUP_DAMAGED', arrive(encode([BODY]))],
    ['NOT_A_BACKUP', arrive(Buffer.from('<html>a proxy says no</html>'))],
    ['NOT_A_BACKUP', arrive(new Uint8Array())],
    ['BACKUP_TOO_SLOW', arrive(encode([HEAD, failed], false))],
    ['UNREACHABLE', arrive(WHOLE.subarray(0, 5000), new Error('aborted'))],
  ]
  for (const [code, chunks] of table) {
    await assert.rejects(writeBackupFile(path, chunks), (error) => {
      assert.equal(toHyperError(error).code, code, toHyperError(error).message)
      return true
    })
    assert.equal(await readFile(path, 'utf8'), 'the former one')
    assert.deepEqual(await readdir(folder), ['file'])
  }
})
