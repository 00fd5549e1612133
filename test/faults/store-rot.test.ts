/** Bytes that rot in the files of a store: named at a start, or when a body is read. */

import assert from 'node:assert/strict'
import { cp, open, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import {
  numberKey,
  openStore,
  put,
  putBody,
  type Store,
  SUBLEVELS,
} from '../../coordinator/store/store.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { makeFolder } from '../support/disk.ts'

const large = new Uint8Array(limits.inlineBodyBytesMax + 1).fill(5)
const COMMITS = 90
const ROWS = 400

const leaseOf = (n: number) => ({ n, text: `${(n * 7919) % 10_007}`.repeat(40) })

/** Enough rows for tables and a log of several blocks. */
const makeStore = async (context: TestContext): Promise<string> => {
  const folder = join(await makeFolder(context), 'store')
  const store = await openStore(folder)
  for (let commit = 0; commit < COMMITS; commit += 1) {
    await store.commit([
      ...(commit < 10 ? [putBody('stdout', `f/${commit}`, large)] : []),
      ...Array.from({ length: ROWS }, (_, row) => {
        const n = commit * ROWS + row
        return put('lease', numberKey(n), leaseOf(n))
      }),
    ])
  }
  await store.close()
  return folder
}

const flipByte = async (path: string, share: number): Promise<void> => {
  const { size } = await stat(path)
  const file = await open(path, 'r+')
  const at = Math.floor(size * share)
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, at)
  byte[0] = (byte[0] ?? 0) ^ 0x10
  await file.write(byte, 0, 1, at)
  await file.close()
}

const prove = async (store: Store): Promise<void> => {
  for (const sublevel of SUBLEVELS) {
    await store.scan(sublevel, () => undefined)
  }
  await store.verify()
}

const isDamage = (error: unknown): boolean =>
  error instanceof HyperError && error.code === 'STATE_DAMAGED'

/** What a start says of a folder; '' where it finds nothing wrong, and then nothing is missing. */
const startOn = async (folder: string): Promise<string> => {
  let store: Store | undefined
  try {
    store = await openStore(folder)
    await prove(store)
    return ''
  } catch (error) {
    assert.ok(isDamage(error), String(error))
    return error instanceof Error ? error.message : ''
  } finally {
    await store?.close()
  }
}

/** How many rows there are, each proven to be what was written. */
const countRows = async (store: Store): Promise<number> => {
  let rows = 0
  for await (const [key, value] of store.range('lease')) {
    assert.deepEqual(value, leaseOf(Number(key)))
    rows += 1
  }
  return rows
}

describe('a byte that rots', () => {
  test('anywhere in the files of LevelDB is named at the next start, and can be accepted', async (context) => {
    const folder = await makeStore(context)
    const names = (await readdir(join(folder, 'ledger'))).filter((name) =>
      /\.(ldb|log)$/.test(name),
    )
    const kinds = new Set<string>()
    let named = 0
    for (const name of names) {
      const path = join(folder, 'ledger', name)
      if ((await stat(path)).size < 100_000) continue
      kinds.add(name.slice(-3))
      for (const share of [0.3, 0.7]) {
        const copy = join(await makeFolder(context), 'store')
        await cp(folder, copy, { recursive: true })
        await flipByte(join(copy, 'ledger', name), share)
        const said = await startOn(copy)
        if (said === '') {
          // The padding at the end of a log, or a log whose rows are in a table already.
          const whole = await openStore(copy)
          assert.equal(await countRows(whole), COMMITS * ROWS, `${name} at ${share}`)
          await whole.close()
          continue
        }
        named += 1
        const losses: string[] = []
        const accepted = await openStore(copy, { tellLoss: (what) => losses.push(what) })
        await prove(accepted)
        assert.ok(losses.length > 0)
        const left = await countRows(accepted)
        assert.ok(left > 0 && left <= COMMITS * ROWS, `${name} at ${share}, ${left} rows left`)
        await accepted.close()
        assert.equal(await startOn(copy), '', `${name} at ${share}, accepted`)
      }
    }
    assert.deepEqual([...kinds].sort(), ['ldb', 'log'])
    assert.ok(named >= 2)
    assert.equal(await startOn(folder), '', 'as it was')
  })

  test('in the last commit of a clean end is not taken for a write that was cut off', async (context) => {
    const folder = join(await makeFolder(context), 'store')
    const store = await openStore(folder)
    for (let n = 1; n <= 3; n += 1) await store.commit([put('lease', `${n}`, 'x'.repeat(500))])
    await store.close()
    const [log = ''] = (await readdir(join(folder, 'ledger'))).filter((name) =>
      name.endsWith('.log'),
    )
    const path = join(folder, 'ledger', log)
    const last = (await readFile(path)).lastIndexOf('xxxx')
    await flipByte(path, last / (await stat(path)).size)
    assert.match(await startOn(folder), /lease has [12] rows, 3 were written/)
  })

  test('in the file of a body is named when the body is read, and a lost file at the start', async (context) => {
    const folder = await makeStore(context)
    const [one = '', two = ''] = (await readdir(join(folder, 'blobs'))).sort()
    await flipByte(join(folder, 'blobs', one), 0.5)
    const store = await openStore(folder)
    await prove(store)
    const key = one.split('.').slice(1, -1).join('/')
    await assert.rejects(store.body('stdout', key), isDamage)
    await store.close()
    await rm(join(folder, 'blobs', two))
    assert.match(
      await startOn(folder),
      new RegExp(`the file ${two.replaceAll('.', '\\.')} is missing`),
    )
    assert.deepEqual(new Uint8Array(await readFile(join(folder, 'blobs', 'stdout.f.7.8'))), large)
  })

  test('or a whole log that is emptied, does not look like a new store', async (context) => {
    const folder = join(await makeFolder(context), 'store')
    const store = await openStore(folder)
    await store.commit([put('lease', 'a', 1)])
    await store.close()
    for (const name of await readdir(join(folder, 'ledger'))) {
      if (name.endsWith('.log')) await (await open(join(folder, 'ledger', name), 'w')).close()
    }
    assert.match(await startOn(folder), /lost its version|are damaged/)
  })

  test('or a whole table that is lost, can be accepted, and what is left is what was written', async (context) => {
    const folder = await makeStore(context)
    const [lost = ''] = (await readdir(join(folder, 'ledger')))
      .filter((name) => name.endsWith('.ldb'))
      .sort()
    await rm(join(folder, 'ledger', lost))
    assert.match(
      await startOn(folder),
      new RegExp(`cannot be opened: .*${Number.parseInt(lost, 10)}`),
    )
    const losses: string[] = []
    const accepted = await openStore(folder, { tellLoss: (what) => losses.push(what) })
    await prove(accepted)
    const left = await countRows(accepted)
    await accepted.close()
    assert.ok(left > 0 && left < COMMITS * ROWS)
    // The last sums may be in the table that is lost: then those before it count.
    const named = new RegExp(`lease has ${left} rows, \\d+ were written`)
    assert.match(losses.join('; '), named)
    assert.equal(await startOn(folder), '')
  })

  test('in a commit’s sums takes that commit, which is named; in their copy at the end, nothing', async (context) => {
    const folder = join(await makeFolder(context), 'store')
    const store = await openStore(folder)
    await store.commit([put('lease', 'a', 'written')])
    await store.close()
    const [log = ''] = (await readdir(join(folder, 'ledger'))).filter((name) =>
      name.endsWith('.log'),
    )
    const bytes = await readFile(join(folder, 'ledger', log))
    const startWithout = async (place: number): Promise<string> => {
      assert.notEqual(place, -1)
      const copy = join(await makeFolder(context), 'store')
      await cp(folder, copy, { recursive: true })
      await flipByte(join(copy, 'ledger', log), (place + 40) / bytes.byteLength)
      return startOn(copy)
    }
    const own = bytes.indexOf('!sums!all', bytes.indexOf('written'))
    assert.match(await startWithout(own), /lease has 0 rows, 1 was written/)
    assert.notEqual(bytes.lastIndexOf('!sums!all'), own)
    assert.equal(await startWithout(bytes.lastIndexOf('!sums!all')), '')
  })
})
