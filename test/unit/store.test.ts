import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Level } from 'level'
import { del, delBody, numberKey, openStore, put, putBody } from '../../coordinator/store/store.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { eventually } from '../support/eventually.ts'

const opener = fileURLToPath(new URL('../support/store-opener.ts', import.meta.url))

const makeFolder = async (context: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'hyper-store-'))
  context.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof HyperError && error.code === code

/** LevelDB as it is, without checksums. */
const openRaw = async (folder: string) => {
  const raw = new Level<string, Uint8Array>(join(folder, 'ledger'), { valueEncoding: 'view' })
  await raw.open()
  return raw
}

const openElsewhere = async (folder: string): Promise<string> => {
  const { stdout } = await promisify(execFile)(process.execPath, [opener, folder])
  return stdout.trim()
}

describe('the store', () => {
  test('gives back what was committed, also after it was closed', async (context) => {
    const folder = await makeFolder(context)
    const store = await openStore(folder)
    const value = { text: 'ä', fraction: 0.5, list: [1, null] }
    await store.commit([put('call', 'k', value), put('call', 'x', 1), put('lease', 'k', 'other')])
    await store.commit([del('call', 'x')])
    await store.close()
    const again = await openStore(folder)
    context.after(() => again.close())
    assert.deepEqual(await again.get('call', 'k'), value)
    assert.equal(await again.get('call', 'x'), undefined)
    assert.equal(await again.get('lease', 'k'), 'other')
  })

  test('gives rows in the order of their keys, within the range that is asked for', async (context) => {
    const store = await openStore(await makeFolder(context))
    context.after(() => store.close())
    const numbers = [10, 9, 100, 1, 2]
    await store.commit(numbers.map((number) => put('log', `f/${numberKey(number)}`, number)))
    await store.commit([put('log', `e/${numberKey(1)}`, 0), put('log', `g/${numberKey(1)}`, 0)])
    const read = async (range: Parameters<typeof store.range>[1]): Promise<unknown[]> => {
      const found: unknown[] = []
      for await (const [, value] of store.range('log', range)) found.push(value)
      return found
    }
    assert.deepEqual(await read({ gt: 'f/', lt: 'f/~' }), [1, 2, 9, 10, 100])
    assert.deepEqual(await read({ gt: `f/${numberKey(2)}`, lt: 'f/~', limit: 2 }), [9, 10])
    assert.deepEqual(await read({ gt: 'f/', lt: `f/${numberKey(10)}`, reverse: true }), [9, 2, 1])
  })

  test('names a row whose bytes have rotted, at a start and when it is read', async (context) => {
    const folder = await makeFolder(context)
    const store = await openStore(folder)
    await store.commit([put('call', 'good', 'body'), put('call', 'rotten', 'body')])
    await store.close()
    const raw = await openRaw(folder)
    const sealed = await raw.get('!call!rotten')
    assert.ok(sealed !== undefined)
    const flipped = Uint8Array.from(sealed, (byte, at) => (at === 6 ? byte ^ 1 : byte))
    await raw.batch([
      { type: 'put', key: '!call!rotten', value: flipped },
      { type: 'put', key: '!call!short', value: Uint8Array.of(1) },
    ])
    await raw.close()
    const again = await openStore(folder)
    context.after(() => again.close())
    assert.equal(await again.get('call', 'good'), 'body')
    await assert.rejects(again.get('call', 'rotten'), hasCode('STATE_DAMAGED'))
    await assert.rejects(again.get('call', 'short'), /call\/short/)
    const scanned = again.scan('call', () => undefined)
    await assert.rejects(scanned, /call\/rotten cannot be read; call\/short cannot be read/)
  })

  test('reads any number of rows, whatever a page holds', async (context) => {
    const store = await openStore(await makeFolder(context))
    context.after(() => store.close())
    const count = 2 * limits.pageRowsMax + 1
    const all = Array.from({ length: count }, (_, n) => n)
    await store.commit(all.map((n) => put('log', `f/${numberKey(n)}`, n)))
    const read = async (range: Parameters<typeof store.range>[1]): Promise<unknown[]> => {
      const found: unknown[] = []
      for await (const [, value] of store.range('log', range)) found.push(value)
      return found
    }
    assert.deepEqual(await read({}), all)
    assert.deepEqual(await read({ reverse: true }), all.toReversed())
    const limit = limits.pageRowsMax + 1
    assert.deepEqual(await read({ limit }), all.slice(0, limit))
    assert.deepEqual(await read({ reverse: true, limit }), all.toReversed().slice(0, limit))
  })

  test('keeps large bodies in files of its own, and lets go of them', async (context) => {
    const folder = await makeFolder(context)
    const store = await openStore(folder)
    const [small, large] = [0, 1].map((more) => new Uint8Array(limits.inlineBodyBytesMax + more))
    assert.ok(small !== undefined && large !== undefined)
    await store.commit([
      putBody('input', '1', small),
      putBody('stdout', 'f/2', large),
      putBody('stdout', 'f/3', large),
      ...[putBody('stdout', 'f/4', large), delBody('stdout', 'f/4')],
    ])
    const blobs = join(folder, 'blobs')
    assert.deepEqual((await readdir(blobs)).sort(), ['stdout.f.2.1', 'stdout.f.3.1'])
    assert.equal((await stat(blobs)).mode & 0o777, 0o700)
    assert.equal((await stat(join(blobs, 'stdout.f.2.1'))).mode & 0o777, 0o600)
    assert.deepEqual(await store.body('stdout', 'f/2'), large)
    await store.commit([delBody('stdout', 'f/2'), putBody('stdout', 'f/3', small)])
    await eventually(async () => (await readdir(blobs)).length === 0)
    assert.equal(await store.body('stdout', 'f/2'), undefined)
    assert.deepEqual(await store.body('stdout', 'f/3'), small)
    await store.close()
  })

  test('refuses a folder whose database is gone or emptied, and opens the rest if asked to', async (context) => {
    const folder = await makeFolder(context)
    const store = await openStore(folder)
    await store.commit([put('call', 'a', 1)])
    await store.close()
    await rm(join(folder, 'ledger'), { recursive: true })
    await assert.rejects(openStore(folder), hasCode('STATE_DAMAGED'))
    const losses: string[] = []
    const accepted = await openStore(folder, { tellLoss: (what) => losses.push(what) })
    assert.match(losses.join(), /has lost its version/)
    await accepted.verify()
    await accepted.close()
  })

  test('opens what LevelDB can repair, and keeps the former files, only if asked to', async (context) => {
    const folder = await makeFolder(context)
    const store = await openStore(folder)
    await store.commit([put('lease', 'a', 1), put('lease', 'b', 1)])
    await store.close()
    const ledger = join(folder, 'ledger')
    const [manifest = ''] = (await readdir(ledger)).filter((name) => name.startsWith('MANIFEST'))
    await rm(join(ledger, manifest))
    await assert.rejects(openStore(folder), hasCode('STATE_DAMAGED'))
    const losses: string[] = []
    const accepted = await openStore(folder, { tellLoss: (what) => losses.push(what) })
    context.after(() => accepted.close())
    assert.match(losses[0] ?? '', /the former files are in .*ledger\.damaged/)
    await accepted.verify()
    assert.equal(await accepted.get('lease', 'a'), 1)
    assert.ok((await readdir(folder)).some((name) => name.startsWith('ledger.damaged')))
  })

  test('is open once: for this process, for another one, and through a link', async (context) => {
    const folder = await makeFolder(context)
    const link = `${folder}-link`
    await symlink(folder, link)
    context.after(() => rm(link))
    const store = await openStore(folder)
    await assert.rejects(openStore(folder), hasCode('STATE_IN_USE'))
    await assert.rejects(openStore(link), hasCode('STATE_IN_USE'))
    assert.deepEqual(await Promise.all([openElsewhere(folder), openElsewhere(link)]), [
      'STATE_IN_USE',
      'STATE_IN_USE',
    ])
    await store.close()
    assert.equal(await openElsewhere(link), 'opened')
  })

  test('refuses a folder that a later version wrote, and lets go of it', async (context) => {
    const folder = await makeFolder(context)
    const store = await openStore(folder)
    await store.commit([put('meta', 'schema', 99)])
    await store.close()
    for (let round = 0; round < 2; round += 1) {
      await assert.rejects(openStore(folder), hasCode('STATE_TOO_NEW'))
    }
  })

  test('refuses rows of an earlier version, and changes nothing of them', async (context) => {
    const folder = await makeFolder(context)
    const store = await openStore(folder)
    await store.commit([put('meta', 'schema', 0)])
    await store.close()
    for (let round = 0; round < 2; round += 1) {
      await assert.rejects(openStore(folder), hasCode('STATE_TOO_OLD'))
    }
  })

  test('keeps its folder to its owner, also one that was open to others', async (context) => {
    const folder = await makeFolder(context)
    await chmod(folder, 0o755)
    const store = await openStore(folder)
    context.after(() => store.close())
    assert.equal((await stat(folder)).mode & 0o777, 0o700)
  })

  test('names a database that cannot be opened, and lets go of its folder', async (context) => {
    const folder = await makeFolder(context)
    await writeFile(join(folder, 'ledger'), 'no database')
    await assert.rejects(openStore(folder), hasCode('STATE_DAMAGED'))
    await rm(join(folder, 'ledger'))
    await (await openStore(folder)).close()
  })

  test('does not take a folder that cannot be read for a damaged one, nor repairs it', async (context) => {
    const folder = await makeFolder(context)
    await symlink('ledger', join(folder, 'ledger'))
    const told: string[] = []
    const tellLoss = (what: string): void => void told.push(what)
    await assert.rejects(openStore(folder, { tellLoss }), hasCode('DISK_FAILED'))
    assert.deepEqual(told, [])
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.includes('damaged')),
      [],
    )
  })

  test('writes all of a commit or nothing', async (context) => {
    const store = await openStore(await makeFolder(context))
    context.after(() => store.close())
    const unstorable = put('call', 'b', () => undefined)
    await assert.rejects(store.commit([put('call', 'a', 1), unstorable]))
    assert.equal(await store.get('call', 'a'), undefined)
  })
})
