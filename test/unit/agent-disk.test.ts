import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { pino } from 'pino'
import { createDisk } from '../../agent/disk.ts'
import {
  isFull,
  isInDanger,
  mayKeepImages,
  mustEvict,
  nextLookMs,
  rootfsBytesMaxOf,
  type Space,
  troubleOf,
} from '../../agent/disk-marks.ts'
import { limits } from '../../protocol/limits.ts'

const MiB = 1024 * 1024
const GiB = 1024 * MiB

describe('the marks of a disk', () => {
  const marksOf = (freeBytes: number, allBytes: number): string => {
    const space: Space = { freeBytes, allBytes }
    return [
      isFull(space) ? 'full' : '',
      isInDanger(space) ? 'danger' : '',
      mustEvict(space) ? 'evict' : '',
      mayKeepImages(space) ? 'keep' : '',
    ]
      .filter((word) => word !== '')
      .join(' ')
  }

  test('are bytes on a large disk and shares of a small one', () => {
    const table = [
      [500 * MiB, 100 * GiB, 'full danger evict'],
      [GiB, 100 * GiB, 'danger evict'],
      [3 * GiB, 100 * GiB, 'evict'],
      [8 * GiB, 100 * GiB, ''],
      [12 * GiB, 100 * GiB, 'keep'],
      [19 * MiB, 400 * MiB, 'full danger evict'],
      [21 * MiB, 400 * MiB, 'danger evict'],
      [61 * MiB, 400 * MiB, 'evict'],
      [81 * MiB, 400 * MiB, ''],
      [121 * MiB, 400 * MiB, 'keep'],
    ] as const
    for (const [free, all, words] of table) assert.equal(marksOf(free, all), words, `${free}`)
    assert.equal(rootfsBytesMaxOf({ freeBytes: 0, allBytes: 100 * GiB }), limits.rootfsBytesMax)
    assert.equal(rootfsBytesMaxOf({ freeBytes: 0, allBytes: 400 * MiB }), 40 * MiB)
    assert.equal(
      troubleOf({ freeBytes: 12.5 * MiB, allBytes: 400 * MiB }),
      'the disk is full: 12 MB free, under the floor of 20 MB',
    )
  })

  test('the fastest writer is seen before it has written a tenth of a second past the danger mark', () => {
    for (const allBytes of [20 * GiB, 100 * GiB]) {
      for (let freeBytes = allBytes; freeBytes > 3 * GiB; freeBytes -= 97 * MiB) {
        const lookMs = nextLookMs({ freeBytes, allBytes })
        assert.ok(lookMs >= limits.hostLookMsMin && lookMs <= limits.diskLookMs)
        const left = freeBytes - (lookMs / 1000) * limits.writerBytesPerSecond
        const overshoot = (limits.hostLookMsMin / 1000) * limits.writerBytesPerSecond
        assert.ok(left > 3 * GiB - overshoot, `${freeBytes} of ${allBytes}`)
      }
    }
  })
})

describe('the agent’s disk', () => {
  const make = (paths: readonly string[] = ['/engine', '/home']) => {
    const free: Record<string, number> = { '/engine': 50 * GiB, '/home': GiB / 4 }
    const seen = { looks: 0, changes: 0, logged: [] as string[] }
    const disk = createDisk({
      async statfs(path) {
        seen.looks += 1
        const bytes = free[path]
        if (bytes === undefined) throw new Error('hidden')
        return { bavail: bytes / 4096, blocks: (100 * GiB) / 4096, bsize: 4096 }
      },
      paths: () => paths,
      log: pino({}, { write: (line: string) => void seen.logged.push(JSON.parse(line).msg) }),
      onChange: () => {
        seen.changes += 1
      },
    })
    return { disk, free, seen }
  }

  test('is full below the floor and roomy above it, and each is told once', async () => {
    const { disk, free, seen } = make()
    await disk.look()
    assert.deepEqual([disk.trouble(), seen.changes], ['', 0])
    free['/engine'] = GiB / 2
    await disk.look()
    await disk.look()
    assert.match(disk.trouble(), /^the disk is full: 512 MB free, under the floor of 1024 MB$/)
    assert.equal(seen.changes, 1)
    free['/engine'] = 2 * GiB
    assert.deepEqual(await disk.look(), { freeBytes: 2 * GiB, allBytes: 100 * GiB })
    assert.deepEqual([disk.trouble(), seen.changes], ['', 2])
    assert.deepEqual(seen.logged, [
      'no calls are taken',
      'the disk has room again: calls are taken',
    ])
  })

  test('is that of our home where the engine’s is hidden, and roomy where nobody can tell', async () => {
    const { disk, free, seen } = make()
    delete free['/engine']
    await disk.look()
    await disk.look()
    const told = seen.logged.filter((line) => line.includes('another disk is watched'))
    assert.equal(told.length, 1)
    assert.match(disk.trouble(), /^the disk is full: 256 MB/)
    delete free['/home']
    assert.equal(await disk.look(), null)
    assert.equal(disk.trouble(), '')
  })

  test('is looked at once by all who look together', async () => {
    const { disk, seen } = make()
    await Promise.all([disk.look(), disk.look(), disk.look()])
    assert.equal(seen.looks, 1)
  })
})
