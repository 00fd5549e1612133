/** Files of one owner, there whole or not at all. */

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { writePrivateFile } from '../../protocol/private-file.ts'

const newFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'private-file-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777

test('text and bytes are written for their owner alone, in a folder made for it', async (t) => {
  const folder = join(await newFolder(t), 'new', 'home')
  const path = join(folder, 'secret')
  const umask = process.umask(0)
  t.after(() => process.umask(umask))
  await writePrivateFile(path, 'text')
  assert.equal(await readFile(path, 'utf8'), 'text')
  await writePrivateFile(path, Uint8Array.of(0, 255))
  assert.deepEqual([...(await readFile(path))], [0, 255])
  assert.deepEqual([await modeOf(path), await modeOf(folder)], [0o600, 0o700])
  assert.deepEqual(await readdir(folder), ['secret'])
})

test('writers at one time each write a whole file, and one of them stands', async (t) => {
  const folder = await newFolder(t)
  const path = join(folder, 'file')
  const texts = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(100_000))
  await Promise.all(texts.map((text) => writePrivateFile(path, text)))
  assert.ok(texts.includes(await readFile(path, 'utf8')))
  assert.deepEqual(await readdir(folder), ['file'])
})

test('what cannot be written leaves nothing behind', async (t) => {
  const folder = await newFolder(t)
  const path = join(folder, 'taken')
  await mkdir(path)
  await assert.rejects(writePrivateFile(path, 'text'), { code: 'EISDIR' })
  assert.deepEqual(await readdir(folder), ['taken'])
})
