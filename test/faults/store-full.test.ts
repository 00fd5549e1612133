/** A disk that is full, and one that hangs: the store waits, tells nobody, and goes on. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { openStore } from '../../coordinator/store/store.ts'
import { diskTest, fill, mountSmallDisk } from '../support/disk.ts'
import { eventually } from '../support/eventually.ts'
import { checkStore, createExpectation, createWorkload } from '../support/store-workload.ts'

const run = promisify(execFile)

const workload = createWorkload(1)

const unexpected = (what: string): never => {
  throw new Error(`not expected: ${what}`)
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
          await store.commit(workload.operations(acknowledged + 1))
          acknowledged += 1
        }
      }
      await write(50)
      const free = await fill(mount)
      // Few enough that each of them still shows at the end.
      const writing = write(90)
      await eventually(() => !store.isWritable())
      const before = acknowledged
      await eventually(() => troubles.length > 2)
      assert.equal(acknowledged, before, 'nothing is acknowledged meanwhile')
      assert.equal(await store.get('meta', 'step'), before, 'reads go on')
      await free()
      await eventually(() => store.isWritable())
      await writing
      await store.close()
      const again = await openStore(folder)
      assert.equal(await checkStore(again, createExpectation(workload), 90), 90)
      await again.close()
    },
  )

  test('can be left: closing does not wait for room', diskTest, async (context) => {
    const mount = await mountSmallDisk(context)
    const folder = join(mount, 'store')
    const store = await openStore(folder)
    await store.commit(workload.operations(1))
    const free = await fill(mount)
    const refused = assert.rejects(async () => {
      for (let n = 2; ; n += 1) await store.commit(workload.operations(n))
    }, /closed/)
    await eventually(() => !store.isWritable())
    await store.close()
    await refused
    await free()
    const again = await openStore(folder)
    await checkStore(again, createExpectation(workload), 1)
    await again.close()
  })
})

describe('a start on a disk that is full', () => {
  test('says so, is no damage, and changes nothing', diskTest, async (context) => {
    const mount = await mountSmallDisk(context)
    const folder = join(mount, 'store')
    const store = await openStore(folder)
    for (let n = 1; n <= 20; n += 1) await store.commit(workload.operations(n))
    await store.close()
    const before = await readdir(folder)
    const free = await fill(mount)
    for (const tellLoss of [undefined, unexpected]) {
      await assert.rejects(openStore(folder, { tellLoss }), { code: 'DISK_FULL' })
    }
    assert.deepEqual(await readdir(folder), before)
    await free()
    const again = await openStore(folder)
    await checkStore(again, createExpectation(workload), 20)
    await again.close()
  })
})

describe('a disk that hangs', () => {
  test('holds a commit up and nothing else', diskTest, async (context) => {
    const mount = await mountSmallDisk(context)
    const store = await openStore(join(mount, 'store'))
    await store.commit(workload.operations(1))
    await run('fsfreeze', ['-f', mount])
    let isDone = false
    let committed: Promise<void>
    try {
      committed = store.commit(workload.operations(2)).then(() => {
        isDone = true
      })
      assert.equal(await store.get('meta', 'step'), 1)
      assert.equal(isDone, false)
    } finally {
      await run('fsfreeze', ['-u', mount])
    }
    await committed
    assert.equal(await store.get('meta', 'step'), 2)
    await store.close()
  })
})
