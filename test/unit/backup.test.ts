/** Backups of a real store while it is written to, and homes made of them. */

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, type TestContext, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { createBackups } from '../../coordinator/backup.ts'
import type { Backups } from '../../coordinator/ports.ts'
import { restoreBackup } from '../../coordinator/restore.ts'
import { RESTORED } from '../../coordinator/restored.ts'
import { SCHEMA_VERSION } from '../../coordinator/store/level-drive.ts'
import {
  delBody,
  numberKey,
  type Operation,
  openStore,
  put,
  putBody,
  type Store,
} from '../../coordinator/store/store.ts'
import { type BackupRecord, backupPrefix, createBackupEncoder } from '../../protocol/backup.ts'
import { toHyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { quiet } from '../support/mesh.ts'

const KiB = 1024

const newFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'backup-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A home with a store in it, and its backups. */
const openHome = async (t: TestContext, timeoutMs = 60_000) => {
  const folder = await newFolder(t)
  const home = join(folder, 'coordinator')
  const store = await openStore(home)
  t.after(() => store.close())
  await writeFile(join(home, 'identity'), 'the key')
  const backups = createBackups({
    ...{ store, home, epoch: 7, settled: async () => undefined, timeoutMs, log: quiet },
    wall: () => '2017-03-16T07:05:24.473Z',
  })
  return { folder, home, store, backups, blobs: () => readdir(join(home, 'blobs')) }
}

const collect = async (frames: AsyncIterable<Uint8Array>): Promise<Buffer> =>
  Buffer.concat(await Readable.from(frames).toArray())

const makeBackup = async (backups: Backups): Promise<Buffer> => {
  const { frames, close } = await backups.open()
  return collect(frames).finally(close)
}

const pack = (frames: Uint8Array): Buffer => Buffer.concat([backupPrefix(), gzipSync(frames)])

/** Restores such bytes; into a fresh home unless told otherwise. */
const restore = async (t: TestContext, bytes: Uint8Array, over: { home?: string } = {}) => {
  const folder = await newFolder(t)
  const backupPath = join(folder, 'file')
  await writeFile(backupPath, bytes)
  const home = over.home ?? join(folder, 'coordinator')
  const restoring = restoreBackup({
    config: { home, backupPath, logFormat: 'json' },
    ...{ wallMs: 9_000_000, progress: () => undefined, signal: new AbortController().signal },
  })
  return { home, folder, restoring }
}

/** Call n in generation g: of several sizes, some in files. */
const bodyOf = (n: number, g: number): Uint8Array =>
  Buffer.alloc([10, 5 * KiB, 40 * KiB, 90 * KiB][n % 4] ?? 0, `${n}.${g} `)

const generation = (g: number): Operation[] =>
  Array.from({ length: 40 }, (_, n) => n).flatMap((n) => [
    put('call', numberKey(n), { n, g }),
    putBody('input', `${numberKey(n)}/${g}`, bodyOf(n, g)),
    ...(g === 0 ? [] : [delBody('input', `${numberKey(n)}/${g - 1}`)]),
  ])

const checkGeneration = async (store: Store, g: number): Promise<void> => {
  for (let n = 0; n < 40; n += 1) {
    assert.deepEqual(await store.get('call', numberKey(n)), { n, g })
    const body = await store.body('input', `${numberKey(n)}/${g}`)
    assert.deepEqual(body === undefined ? null : Buffer.from(body), bodyOf(n, g))
  }
}

describe('a backup', () => {
  test('is of one moment while rows change and bodies go, and is proven whole', async (t) => {
    const { store, backups } = await openHome(t)
    for (let g = 0; g < 3; g += 1) await store.commit(generation(g))
    const { frames, close } = await backups.open()
    const parts: Uint8Array[] = []
    let g = 3
    for await (const frame of frames) {
      parts.push(frame)
      if (g < 12) await store.commit(generation(g))
      g += 1
    }
    await close()
    assert.ok(g > 12, 'the store was written to meanwhile')
    const { home, restoring } = await restore(t, pack(Buffer.concat(parts)))
    const restored = await restoring
    assert.deepEqual([restored.bodies, restored.rows], [40, 40])
    const copy = await openStore(home)
    t.after(() => copy.close())
    await checkGeneration(copy, 2)
    await copy.verify()
    assert.equal(await copy.get('meta', RESTORED), '2017-03-16T07:05:24.473Z')
    assert.equal(await readFile(join(home, 'identity'), 'utf8'), 'the key')
    assert.equal((await stat(join(home, 'identity'))).mode & 0o777, 0o600)
    assert.equal((await stat(home)).mode & 0o777, 0o700)
    await store.verify()
  })

  test('lets go of files that were dropped meanwhile once it is closed', async (t) => {
    const { store, backups, blobs } = await openHome(t)
    await store.commit([putBody('stdout', 'f/1', new Uint8Array(100 * KiB))])
    const { frames, close } = await backups.open()
    await store.commit([delBody('stdout', 'f/1')])
    assert.equal((await blobs()).length, 1)
    await collect(frames)
    await close()
    await store.verify()
    assert.equal((await blobs()).length, 0)
  })

  test('is one at a time, and can be made again after one that nobody read', async (t) => {
    const { backups } = await openHome(t)
    const first = await backups.open()
    await assert.rejects(backups.open(), { code: 'BACKUP_BUSY' })
    await first.close()
    assert.ok((await makeBackup(backups)).byteLength > 0)
  })

  test('gives up on a reader that is too slow, tells it, and holds nothing any more', async (t) => {
    const { store, backups, blobs } = await openHome(t, 50)
    await store.commit(generation(0))
    const { frames, close } = await backups.open()
    const reader = frames[Symbol.asyncIterator]()
    const parts: Uint8Array[] = []
    const first = await reader.next()
    if (first.done !== true) parts.push(first.value)
    const again = await (async () => {
      for (;;) {
        const opened = await backups.open().catch((error: unknown) => toHyperError(error))
        if (!(opened instanceof Error)) return opened
        assert.equal(opened.code, 'BACKUP_BUSY')
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    })()
    await again.close()
    await store.commit(generation(1))
    await store.verify()
    assert.equal((await blobs()).length, 20, 'what it pinned is gone')
    for (let next = await reader.next(); next.done !== true; next = await reader.next()) {
      parts.push(next.value)
    }
    await close()
    const { home, restoring } = await restore(t, pack(Buffer.concat(parts)))
    await assert.rejects(restoring, { code: 'BACKUP_TOO_SLOW' })
    await assert.rejects(stat(home))
  })

  test('that meets damage says so and is no backup', async (t) => {
    const { home, store, backups, blobs } = await openHome(t)
    await store.commit([putBody('stdout', 'f/1', new Uint8Array(100 * KiB))])
    const [name = ''] = await blobs()
    await writeFile(join(home, 'blobs', name), new Uint8Array(100 * KiB).fill(1))
    const { restoring } = await restore(t, pack(await makeBackup(backups)))
    await assert.rejects(restoring, { code: 'STATE_DAMAGED' })
  })

  test('that finds no key says so, rather than to be one that nothing is restored of', async (t) => {
    const { home, backups } = await openHome(t)
    await rm(join(home, 'identity'))
    const { restoring } = await restore(t, pack(await makeBackup(backups)))
    await assert.rejects(restoring, { code: 'STATE_DAMAGED', message: /identity is lost/ })
  })
})

describe('a restore', () => {
  const HEAD: BackupRecord = {
    type: 'head',
    ...{ schema: SCHEMA_VERSION, version: '0', made: 'now', epoch: 7 },
  }
  const identity: BackupRecord = { type: 'file', name: 'identity', bytes: Buffer.from('key') }

  const encode = (...records: BackupRecord[]): Buffer => {
    const encoder = createBackupEncoder()
    const frames = records.map((record) => encoder.frame(record))
    return pack(Buffer.concat([...frames, encoder.end()]))
  }

  /** Refused with this code, and nothing is there afterwards. */
  const refuses = async (t: TestContext, bytes: Uint8Array, code: string): Promise<void> => {
    const { folder, restoring } = await restore(t, bytes)
    await assert.rejects(restoring, (error) => {
      assert.equal(toHyperError(error).code, code, toHyperError(error).message)
      return true
    })
    assert.deepEqual(await readdir(folder), ['file'])
  }

  test('has an epoch far above the backup’s, all that was told, and the wall clock', async (t) => {
    for (const [epoch, told, highest] of [
      [10_000, 0, 10_000],
      [10, 0, 9_000],
      [10, 20_000, 20_000],
    ] as const) {
      const expected = highest + limits.raisedEpochGap
      const rows: BackupRecord = {
        ...{ type: 'rows', sublevel: 'meta' },
        rows: [
          ['epoch', epoch],
          ['epoch-told', told],
        ],
      }
      const { home, restoring } = await restore(t, encode(HEAD, identity, rows))
      assert.equal((await restoring).epoch, expected)
      const store = await openStore(home)
      assert.equal(await store.get('meta', 'epoch'), expected)
      await store.close()
    }
  })

  test('goes into an empty home, and into no other', async (t) => {
    const bytes = encode(HEAD, identity)
    const folder = await newFolder(t)
    const home = join(folder, 'coordinator')
    await mkdir(home)
    await (await restore(t, bytes, { home })).restoring
    assert.ok((await readdir(home)).includes('ledger'))
    await assert.rejects((await restore(t, bytes, { home })).restoring, { code: 'STATE_EXISTS' })
    const file = join(folder, 'occupied')
    await writeFile(file, '')
    await assert.rejects((await restore(t, bytes, { home: file })).restoring, {
      code: 'STATE_EXISTS',
    })
  })

  test('clears away what one before it left', async (t) => {
    const folder = await newFolder(t)
    const home = join(folder, 'coordinator')
    const left = await openStore(`${home}.restoring`)
    await left.commit([put('call', '1', { n: 1 })])
    const bytes = encode(HEAD, identity)
    await assert.rejects((await restore(t, bytes, { home })).restoring, { code: 'STATE_IN_USE' })
    await left.close()
    assert.equal((await (await restore(t, bytes, { home })).restoring).rows, 0)
    assert.deepEqual(await readdir(folder), ['coordinator'])
  })

  test('that is given up leaves nothing', async (t) => {
    const folder = await newFolder(t)
    const backupPath = join(folder, 'file')
    await writeFile(backupPath, encode(HEAD, identity))
    const giving = new AbortController()
    const restoring = restoreBackup({
      config: { home: join(folder, 'coordinator'), backupPath, logFormat: 'json' },
      ...{ wallMs: 0, signal: giving.signal },
      progress: () => giving.abort(new Error('given up')),
    })
    await assert.rejects(restoring, /given up/)
    assert.deepEqual(await readdir(folder), ['file'])
  })

  test('refuses what is no backup, of another version, cut, or changed, each by name', async (t) => {
    const bytes = encode(HEAD, identity, {
      ...{ type: 'body', kind: 'stdout', key: 'f/1' },
      bytes: Buffer.alloc(30 * KiB, 'abc'),
    })
    await refuses(t, new Uint8Array(), 'NOT_A_BACKUP')
    await refuses(t, Buffer.from('a text of some length'), 'NOT_A_BACKUP')
    await refuses(t, gzipSync('packed by another'), 'NOT_A_BACKUP')
    const later = Buffer.from(bytes)
    later.writeUInt32BE(9, 8)
    await refuses(t, later, 'STATE_TOO_NEW')
    await refuses(t, encode({ ...HEAD, schema: SCHEMA_VERSION + 1 }, identity), 'STATE_TOO_NEW')
    await refuses(t, encode({ ...HEAD, schema: 1 }, identity), 'BACKUP_TOO_OLD')
    await refuses(t, backupPrefix(), 'BACKUP_DAMAGED')
    for (const at of [13, 40, bytes.byteLength >> 1, bytes.byteLength - 1]) {
      await refuses(t, bytes.subarray(0, at), 'BACKUP_DAMAGED')
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ 1
      await refuses(t, changed, 'BACKUP_DAMAGED')
    }
    await refuses(t, encode(HEAD), 'BACKUP_DAMAGED')
    await refuses(t, encode(HEAD, identity, { ...identity, name: '../x' }), 'BACKUP_DAMAGED')
    const rows: BackupRecord = { type: 'rows', sublevel: 'sums', rows: [['all', 1]] }
    await refuses(t, encode(HEAD, identity, rows), 'BACKUP_DAMAGED')
  })
})
