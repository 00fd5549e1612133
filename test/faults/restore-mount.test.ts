/** A home that is a mount point, also one of the same file system. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { restoreBackup } from '../../coordinator/restore.ts'
import { diskTest, makeFolder } from '../support/disk.ts'

const run = promisify(execFile)

test('a restore into a mount point is refused before it has written', diskTest, async (t) => {
  const folder = await makeFolder(t)
  const home = join(folder, 'coordinator')
  await mkdir(home)
  const backupPath = join(folder, 'backup')
  // Never looked at: the home is refused first.
  await writeFile(backupPath, '')
  await run('mount', ['--bind', home, home])
  try {
    const restoring = restoreBackup({
      config: { home, backupPath, logFormat: 'json' },
      ...{ wallMs: 0, progress: () => undefined, signal: new AbortController().signal },
    })
    await assert.rejects(restoring, { code: 'STATE_EXISTS', message: /is a mount point/ })
  } finally {
    await run('umount', [home])
  }
  assert.deepEqual((await readdir(folder)).sort(), ['backup', 'coordinator'])
})
