/** The files of a LevelDB that is not open: what rots in them is found, and what a crash left is not. */

import assert from 'node:assert/strict'
import { copyFile, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { Level } from 'level'
import { openOutbox } from '../../agent/outbox.ts'
import { crc32c } from '../../daemon/crc32c.ts'
import { checkFiles, repairFiles } from '../../daemon/level-files.ts'
import { decodeSnappy } from '../../daemon/snappy.ts'
import { HyperError } from '../../protocol/errors.ts'
import { makeFolder } from '../support/disk.ts'

const ROWS = 30
/** So small that few rows fill several. */
const BLOCK_BYTES = 512

const keyOf = (n: number): string => `row/${String(n).padStart(6, '0')}`
/** Half of it can be compressed. */
const textOf = (n: number): string =>
  `${Math.imul(n + 1, 0x9e3779b1) >>> 0}`.repeat(n % 2) + '.'.repeat(60)

type Act = (database: Level<string, string>) => Promise<void>

/** Of LevelDB itself; the typings of `level` leave it out. */
const options = { blockSize: BLOCK_BYTES }

const withDatabase = async (path: string, act: Act): Promise<void> => {
  const database = new Level<string, string>(path, options)
  await database.open()
  await act(database).finally(() => database.close())
}

const compactFrom =
  (from: string, to: string): Act =>
  async (database) => {
    assert.ok('compactRange' in database && typeof database.compactRange === 'function')
    await database.compactRange(from, to)
  }
const compact = compactFrom('', '~')

/** Two tables of rows on two levels, the later of which has some of them once more; a log. */
const makeDatabase = async (context: TestContext): Promise<string> => {
  const path = join(await makeFolder(context), 'database')
  await withDatabase(path, async (database) => {
    for (let n = 0; n < ROWS; n += 1) await database.put(keyOf(n), `former ${textOf(n)}`)
    await compact(database)
  })
  await withDatabase(path, async (database) => {
    for (let n = 0; n < ROWS; n += 1) await database.put(keyOf(n), textOf(n))
  })
  await withDatabase(path, (database) => database.put('last', 'row'))
  return path
}

const namesIn = async (path: string, end: RegExp): Promise<string[]> =>
  (await readdir(path)).filter((name) => end.test(name)).sort()

const [TABLES, LISTS] = [/\.ldb$/, /^(MANIFEST-\d+|CURRENT)$/]

const copyOf = async (path: string): Promise<string> => {
  const copy = `${path}-copy`
  await rm(copy, { recursive: true, force: true })
  await mkdir(copy)
  for (const name of await readdir(path)) {
    if (name !== 'LOCK') await copyFile(join(path, name), join(copy, name))
  }
  return copy
}

const rowsOf = async (path: string): Promise<ReadonlyMap<string, string>> => {
  const rows = new Map<string, string>()
  await withDatabase(path, async (database) => {
    for await (const [key, value] of database.iterator()) {
      rows.set(key, value)
      assert.equal(await database.get(key), value, `${key}, read by itself`)
    }
  })
  return rows
}

const damageOf = (path: string): Promise<string> =>
  checkFiles(path).then(
    () => '',
    (error: unknown) => String(error),
  )

/** Repairs as often as a start does, and gives the rows that are left. */
const repair = async (path: string): Promise<ReadonlyMap<string, string>> => {
  await repairFiles(path)
  assert.equal(await damageOf(path), '')
  return rowsOf(path)
}

const flip = (bytes: Uint8Array, at: number): Buffer => {
  const rotten = Buffer.from(bytes)
  rotten[at] = (rotten[at] ?? 0) ^ (1 << (at % 8))
  return rotten
}

describe('the files of a database', () => {
  test('are found damaged for every byte that rots in a table or in the list of tables', async (context) => {
    const path = await makeDatabase(context)
    const names = [...(await namesIn(path, TABLES)), ...(await namesIn(path, LISTS))]
    assert.ok(names.length >= 4)
    assert.equal(await damageOf(path), '')
    const missed: string[] = []
    for (const name of names) {
      const bytes = await readFile(join(path, name))
      for (let at = 0; at < bytes.byteLength; at += 1) {
        await writeFile(join(path, name), flip(bytes, at))
        const said = await damageOf(path)
        if (!/damaged|cut short|missing/.test(said)) missed.push(`${name} at ${at}: ${said}`)
      }
      await writeFile(join(path, name), bytes)
    }
    assert.deepEqual(missed, [])
    assert.equal((await rowsOf(path)).size, ROWS + 1)
  })

  test('are not damaged by what a crash leaves: half a table, a list whose end was cut off', async (context) => {
    const path = await makeDatabase(context)
    await writeFile(join(path, '000999.ldb'), 'half a table')
    const [list = ''] = await namesIn(path, /^MANIFEST/)
    const bytes = await readFile(join(path, list))
    await writeFile(join(path, list), Buffer.concat([bytes, Buffer.alloc(3000)]))
    assert.equal(await damageOf(path), '', 'zeros, where a record was to be written')
    const record = Buffer.concat([
      bytes.subarray(0, 4),
      Buffer.from([200, 0, 1]),
      Buffer.alloc(100, 9),
    ])
    await writeFile(join(path, list), Buffer.concat([bytes, record]))
    assert.equal(await damageOf(path), '', 'the beginning of a record')
    assert.equal((await rowsOf(path)).size, ROWS + 1)
  })

  test('are read to the end of a list of many blocks, whose records lie across them', async (context) => {
    const path = join(await makeFolder(context), 'database')
    const longKey = (n: number): string => `${n}`.repeat(10_000)
    await withDatabase(path, async (database) => {
      for (let n = 1; n < 8; n += 1) {
        await database.put(longKey(n), 'row')
        await compact(database)
      }
    })
    const [list = ''] = await namesIn(path, /^MANIFEST/)
    const bytes = await readFile(join(path, list))
    assert.ok(bytes.byteLength > 3 * 32 * 1024)
    assert.equal(await damageOf(path), '')
    for (let at = 5; at < bytes.byteLength; at += 9973) {
      await writeFile(join(path, list), flip(bytes, at))
      assert.match(await damageOf(path), /the list of its tables is damaged/, `at ${at}`)
    }
    await writeFile(join(path, list), bytes)
    for (const name of await namesIn(path, TABLES)) {
      const table = await readFile(join(path, name))
      await writeFile(join(path, name), flip(table, 10))
      assert.match(await damageOf(path), new RegExp(`${name}: damaged`))
      await writeFile(join(path, name), table)
    }
  })

  test('are damaged where a table is missing or cut short, or CURRENT is gone but its tables are not', async (context) => {
    const path = await makeDatabase(context)
    const [name = ''] = await namesIn(path, TABLES)
    const missing = await copyOf(path)
    await rm(join(missing, name))
    assert.match(await damageOf(missing), new RegExp(`${name}: .*no such file`))
    const short = await copyOf(path)
    await truncate(join(short, name), 100)
    assert.match(await damageOf(short), new RegExp(`${name}: it is cut short`))
    const headless = await copyOf(path)
    await rm(join(headless, 'CURRENT'))
    assert.match(await damageOf(headless), /CURRENT is missing/)
  })

  test('lose no more by a repair than the block, the table or the list that is damaged', async (context) => {
    const path = await makeDatabase(context)
    const whole = await rowsOf(path)
    const names = [...(await namesIn(path, TABLES)), ...(await namesIn(path, LISTS))]
    for (const name of names) {
      const bytes = await readFile(join(path, name))
      for (let at = 0; at < bytes.byteLength; at += 97) {
        const copy = await copyOf(path)
        await writeFile(join(copy, name), flip(bytes, at))
        const left = await repair(copy)
        for (const [key, text] of left) {
          const isWritten = [whole.get(key), `former ${whole.get(key)}`].includes(text)
          assert.ok(isWritten, `${name} at ${at}: ${key} is ${text}`)
        }
        if (!TABLES.test(name)) assert.deepEqual(left, whole, `${name} at ${at}`)
        await withDatabase(copy, compact)
        assert.deepEqual(await rowsOf(copy), left, `${name} at ${at}, compacted`)
      }
    }
  })

  test('give the newest row after a repair, though a former one is in a later table', async (context) => {
    const path = join(await makeFolder(context), 'database')
    await withDatabase(path, async (database) => {
      for (const key of ['a', 'c']) await database.put(key, 'former')
      await compact(database)
    })
    await withDatabase(path, (database) => database.put('a', 'newest'))
    await withDatabase(path, (database) => database.put('b', 'newest'))
    // Merges the tables of `b` and of the former rows.
    await withDatabase(path, compactFrom('b', 'b'))
    await writeFile(join(path, 'CURRENT'), 'rotten')
    const left = await repair(path)
    assert.deepEqual([...left.values()], ['newest', 'newest', 'former'])
  })

  test('lose a block of their rows and no other by a repair', async (context) => {
    const path = await makeDatabase(context)
    const [, name = ''] = await namesIn(path, TABLES)
    const whole = await rowsOf(path)
    const bytes = await readFile(join(path, name))
    await writeFile(join(path, name), flip(bytes, 10))
    assert.match(await damageOf(path), /damaged in 1 of its \d+ blocks/)
    const left = await repair(path)
    const same = [...whole].filter(([key, text]) => left.get(key) === text)
    assert.ok(same.length > 0 && same.length < whole.size)
  })

  test('lose no rows by a filter that rotted: without it, only time', async (context) => {
    const path = await makeDatabase(context)
    const whole = await rowsOf(path)
    for (const name of await namesIn(path, TABLES)) {
      const bytes = await readFile(join(path, name))
      // Before the block that names it, and its own trailer.
      const filterEnd = bytes.lastIndexOf('filter.leveldb') - 3 - 5
      await writeFile(join(path, name), flip(bytes, filterEnd - 8))
    }
    assert.match(await damageOf(path), /damaged in its filter/)
    assert.deepEqual(await repair(path), whole)
  })

  test('of an agent’s outbox are looked at, too', async (context) => {
    const home = await makeFolder(context)
    for (let start = 0; start < 2; start += 1) await (await openOutbox(home)).close()
    const path = join(home, 'outbox')
    const [name = ''] = await namesIn(path, TABLES)
    await writeFile(join(path, name), flip(await readFile(join(path, name)), 3))
    await assert.rejects(
      openOutbox(home),
      (error: unknown) =>
        error instanceof HyperError &&
        error.code === 'STATE_DAMAGED' &&
        /outbox cannot be opened: \d+\.ldb: damaged in 1 of its 1 blocks/.test(error.message),
    )
  })
})

describe('CRC-32C', () => {
  test('is that of the standard, in one piece and in several', () => {
    const bytes = Buffer.from('xx123456789')
    assert.equal(crc32c(bytes, 2, 11), 0xe3069283)
    assert.equal(crc32c(bytes, 5, 11, crc32c(bytes, 2, 5)), 0xe3069283)
  })
})

describe('Snappy', () => {
  const decode = (...bytes: (number | string)[]): string =>
    Buffer.from(
      decodeSnappy(
        Buffer.concat(bytes.map((one) => Buffer.from(typeof one === 'string' ? one : [one]))),
        300,
      ),
    ).toString()

  test('is decoded: literals, copies near and far, copies of what they write themselves', () => {
    assert.equal(decode(3, 2 << 2, 'abc'), 'abc')
    assert.equal(decode(8, 1 << 2, 'ab', (2 << 2) | 1, 2), 'abababab')
    assert.equal(decode(5, 2 << 2, 'abc', (1 << 2) | 2, 3, 0), 'abcab')
    assert.equal(decode(5, 2 << 2, 'abc', (1 << 2) | 3, 3, 0, 0, 0), 'abcab')
    assert.equal(decode(0xc8, 1, 60 << 2, 199, 'x'.repeat(200)), 'x'.repeat(200))
  })

  test('is refused where it is cut short, too long, or copies what is not there', () => {
    const wrong = [
      () => decode(3, 2 << 2, 'ab'),
      () => decode(4, 2 << 2, 'abc'),
      () => decode(2, 2 << 2, 'abc'),
      () => decode(8, 1 << 2, 'ab', (2 << 2) | 1, 3),
      () => decode(8, 1 << 2, 'ab', (2 << 2) | 1, 0),
      () => decode(0xff, 0xff, 3),
      () => decode(),
    ]
    for (const act of wrong) assert.throws(act, /cannot be decoded/)
  })
})
