/** A disk that is full, and one that hangs: the store waits, tells nobody, and goes on. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { openStore } from '../../coordinator/store.ts'
import { diskTest, mountSmallDisk } from '../support/disk.ts'
import { eventually } from '../support/eventually.ts'
import { checkWritten, operationsOf } from '../support/store-writing.ts'

const run = promisify(execFile)

/** Takes all the space there is. */
const fill = async (mount: string): Promise<string> => {
  const ballast = join(mount, 'ballast')
  const { bavail, bsize } = await statfs(mount)
  const chunk = Buffer.alloc(1024 * 1024, 1)
  await writeFile(ballast, Buffer.alloc(bavail * bsize, 1)).catch(() => undefined)
  await writeFile(`${ballast}-2`, chunk).catch(() => undefined)
  return ballast
}

describe('a disk that is full', () => {
  test(
    'keeps commits waiting, and takes them when there is room, without a restart',
    diskTest,
    async (context) => {
      const mount = await mountSmallDisk(context)
      const folder = join(mount, 'store')
      const troubles: string[] = []
      const store = await openStore(folder, { onTrouble: (trouble) => troubles.push(trouble) })
      let acknowledged = 0
      const write = async (to: number): Promise<void> => {
        while (acknowledged < to) {
          await store.commit(operationsOf(acknowledged + 1))
          acknowledged += 1
        }
      }
      await write(50)
      const ballast = await fill(mount)
      const writing = write(400)
      await eventually(() => !store.isWritable())
      const before = acknowledged
      await eventually(() => troubles.length > 2)
      assert.equal(acknowledged, before, 'nothing is acknowledged meanwhile')
      assert.equal(await store.get('call', `${before}`), before, 'reads go on')
      await rm(ballast)
      await rm(`${ballast}-2`, { force: true })
      await eventually(() => store.isWritable())
      await writing
      await store.close()
      const again = await openStore(folder)
      assert.equal(await checkWritten(again, 400), 400)
      await again.close()
    },
  )

  test('can be left: closing does not wait for room', diskTest, async (context) => {
    const mount = await mountSmallDisk(context)
    const folder = join(mount, 'store')
    const store = await openStore(folder)
    await store.commit(operationsOf(1))
    const ballast = await fill(mount)
    const refused = assert.rejects(async () => {
      for (let n = 2; ; n += 1) await store.commit(operationsOf(n))
    }, /closed/)
    await eventually(() => !store.isWritable())
    await store.close()
    await refused
    await rm(ballast)
    const again = await openStore(folder)
    await checkWritten(again, 1)
    await again.close()
  })
})

describe('a disk that hangs', () => {
  test('holds a commit up and nothing else', diskTest, async (context) => {
    const mount = await mountSmallDisk(context)
    const store = await openStore(join(mount, 'store'))
    await store.commit(operationsOf(1))
    await run('fsfreeze', ['-f', mount])
    let isDone = false
    let committed: Promise<void>
    try {
      committed = store.commit(operationsOf(2)).then(() => {
        isDone = true
      })
      assert.equal(await store.get('call', '1'), 1)
      assert.equal(isDone, false)
    } finally {
      await run('fsfreeze', ['-u', mount])
    }
    await committed
    assert.equal(await store.get('call', '2'), 2)
    await store.close()
  })
})
