/** What a restore that is refused leaves of the place that it was to write to: what was there. */

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { restoreBackup } from '../../coordinator/restore.ts'
import { isMountPoint, mountPointsIn } from '../../daemon/mount-point.ts'
import { backupPrefix } from '../../protocol/backup.ts'
import { runHyper } from '../support/deployment.ts'

const newFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'restore-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const restore = (home: string, backupPath: string) =>
  restoreBackup({
    config: { home, backupPath, logFormat: 'json' },
    ...{ wallMs: 0, progress: () => undefined, signal: new AbortController().signal },
  })

test('no folder that a refused restore made is left, and none that it did not make goes', async (t) => {
  const folder = await newFolder(t)
  const foreign = join(folder, 'foreign')
  await writeFile(foreign, 'something else')
  const damaged = join(folder, 'damaged')
  await writeFile(damaged, Buffer.concat([backupPrefix(), gzipSync('something else')]))
  const made = join(folder, 'made')
  await mkdir(made)
  for (const [path, code] of [
    [foreign, 'NOT_A_BACKUP'],
    [damaged, 'BACKUP_DAMAGED'],
  ] as const) {
    await assert.rejects(restore(join(folder, 'a', 'b', 'coordinator'), path), { code })
    await assert.rejects(restore(join(made, 'c', 'coordinator'), path), { code })
    await assert.rejects(restore(join(made, 'coordinator'), path), { code })
    assert.deepEqual((await readdir(folder)).sort(), ['damaged', 'foreign', 'made'])
    assert.deepEqual(await readdir(made), [])
  }
})

test('what is no backup is told by the name of the file', async (t) => {
  const folder = await newFolder(t)
  const path = join(folder, 'foreign')
  await writeFile(path, 'something else')
  await assert.rejects(restore(join(folder, 'coordinator'), path), {
    message: `${path} is no backup of a coordinator`,
  })
})

test('a restore from STDIN is refused by name, and makes nothing', async (t) => {
  const folder = await newFolder(t)
  const home = join(folder, 'home')
  const { code, stdout, stderr } = await runHyper(['restore', '-'], { home })
  assert.deepEqual([code, `${stdout}`], [2, ''])
  assert.match(stderr, /^hyper: a restore reads a file, not STDIN: write it to one first\s*$/)
  assert.deepEqual(await readdir(folder), [])
})

test('mount points are read from the kernel’s table, blanks and all', async (t) => {
  const table = [
    '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw',
    String.raw`40 22 8:1 /a /srv/my\040\134home rw - ext4 /dev/sda1 rw`,
    '',
  ].join('\n')
  const points = mountPointsIn(table)
  assert.ok(points.has('/') && points.has(String.raw`/srv/my \home`))
  assert.equal(await isMountPoint('/proc'), true)
  const folder = await newFolder(t)
  assert.equal(await isMountPoint(folder), false)
  assert.equal(await isMountPoint(join(folder, 'none')), false)
})
