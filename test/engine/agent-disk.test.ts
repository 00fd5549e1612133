/**
 * The agent's disk, on an engine that keeps its files on a file system of 512 MB: its floor is 25 MB,
 * the danger begins at 77, images go below 102 until 154 are free, and a container may write 51.
 */

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type Docker from 'dockerode'
import { floorOf } from '../../agent/disk-marks.ts'
import type { ImagePin } from '../../protocol/image.ts'
import { createAgentBench } from '../support/agent-bench.ts'
import { diskTest, fill, mountSmallDisk } from '../support/disk.ts'
import { connectDocker, pullImage } from '../support/docker.ts'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { eventually } from '../support/eventually.ts'
import { pushImage } from '../support/image-push.ts'
import { makeBusyboxRoot } from '../support/images.ts'

const MiB = 1024 * 1024
const DISK_BYTES = 512 * MiB
const IMAGE_BYTES = 50 * MiB
const IMAGES = ['one', 'two', 'three', 'owners'] as const

/** Images of 52 MB, each of its own bytes. */
const pushImages = async (docker: Docker, { registryUrl }: TestEngine, dir: string) => {
  for (const name of IMAGES) {
    const own = join(dir, name)
    const rootDir = join(own, 'root')
    await mkdir(own, { recursive: true })
    await makeBusyboxRoot(rootDir)
    await writeFile(join(rootDir, 'ballast'), Buffer.alloc(IMAGE_BYTES, name))
    const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'
    await pushImage({
      ...{ docker, registry: new URL(registryUrl).host, dir: own },
      source: { repository: `disk/${name}`, rootDir, architecture, config: {} },
    })
  }
}

const startSmallEngine = async (t: TestContext) => {
  const dir = await mkdtemp(join(tmpdir(), 'disk-'))
  const closers: (() => Promise<void> | void)[] = []
  t.after(async () => {
    for (const close of closers.toReversed()) await close()
    await rm(dir, { recursive: true, force: true })
  })
  const mount = await mountSmallDisk(t, DISK_BYTES)
  const engine = await startTestEngine({ dir: join(dir, 'e'), dataRoot: mount })
  closers.push(engine.stop)
  const { docker, close } = connectDocker(engine.socketPath)
  closers.push(close)
  await pushImages(docker, engine, join(dir, 'images'))
  const { dockerHost, socketPath } = engine
  const bench = await createAgentBench({ dockerHost, socketPath })
  closers.push(bench.close)
  await bench.open()
  await bench.connect()
  const freeBytes = async (): Promise<number> => {
    const { bavail, bsize } = await statfs(mount)
    return bavail * bsize
  }
  return { bench, docker, mount, freeBytes }
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString().trim()
const shell = (image: ImagePin, script: string) => ({ image, cmd: ['sh', '-c', script] })

test('an engine’s disk that gets full', diskTest, async (t) => {
  const { bench, docker, mount, freeBytes } = await startSmallEngine(t)
  await pullImage(docker, 'disk/owners')
  const one = await bench.pin('disk/one')
  const two = await bench.pin('disk/two')
  await bench.pin('disk/three')

  await t.test(
    'the images that we pulled go, not those used last nor those of the owner',
    async () => {
      assert.equal(text((await bench.run(shell(one, 'echo used'))).stdout), 'used')
      const images = async (): Promise<string[]> => {
        const rows = await docker.listImages()
        const names = rows.flatMap(({ RepoTags, RepoDigests }) => [
          ...(RepoTags ?? []),
          ...(RepoDigests ?? []),
        ])
        return IMAGES.filter((name) => names.some((other) => other.startsWith(`disk/${name}`)))
      }
      assert.deepEqual(await images(), IMAGES)
      const changes = bench.premises().images.changes()
      const free = await fill(mount, 15 * MiB)
      await eventually(async () => (await images()).length === 2, 60_000)
      assert.deepEqual(await images(), ['one', 'owners'])
      await eventually(() => bench.premises().images.changes() === changes + 2)
      assert.ok((await freeBytes()) < 154 * MiB, 'what was used of late stays: it is no danger')
      await free()
      const again = await bench.run(shell(two, 'echo pulled again'))
      assert.equal(text(again.stdout), 'pulled again')
    },
  )

  await t.test('a function that fills it is ended, and the call beside it is not', async () => {
    const beside = bench.assign(
      shell(one, 'dd if=/dev/zero of=/own bs=1M count=20; sleep 8; echo done'),
    )
    await bench.message('started', beside)
    const filler = bench.assign(shell(one, 'dd if=/dev/zero of=/fill bs=1M; sleep 60'))
    const full = await bench.result(filler)
    assert.deepEqual([full.code, full.exitCode, full.started], ['CALL_DISK_FULL', null, true])
    assert.ok(full.runMs < 20_000, `ended after ${full.runMs} ms`)
    const ended = await bench.result(beside)
    assert.deepEqual([ended.code, text(ended.stdout)], ['FINISHED', 'done'])
    bench.acknowledge(filler)
    bench.acknowledge(beside)
    await bench.quiet()
    assert.equal((await bench.run(shell(one, 'echo on'))).code, 'FINISHED')
  })

  await t.test('one that writes 10 MB a second is ended before the floor is reached', async () => {
    const free = await fill(mount, 120 * MiB)
    const chunk = 'dd if=/dev/zero bs=1M count=2 2>/dev/null >>/fill'
    const filler = bench.assign(shell(one, `while ${chunk}; do usleep 200000; done`))
    const ended = bench.result(filler)
    let leastBytes = await freeBytes()
    let isOver = false
    const done = ended.finally(() => {
      isOver = true
    })
    while (!isOver) {
      leastBytes = Math.min(leastBytes, await freeBytes())
      await pause(20)
    }
    assert.equal((await done).code, 'CALL_DISK_FULL')
    bench.acknowledge(filler)
    await bench.quiet()
    const floor = floorOf({ freeBytes: 0, allBytes: DISK_BYTES })
    assert.ok(leastBytes > floor, `${leastBytes} bytes were left, the floor is ${floor}`)
    await free()
  })

  await t.test('below the floor calls are refused, until there is room again', async () => {
    const free = await fill(mount, 8 * MiB)
    await bench.premises().disk.look()
    const refused = await bench.message('refused', bench.assign(shell(one, 'true')))
    assert.match(refused.message, /^the disk is full: \d+ MB free, under the floor of 2\d MB$/)
    await assert.rejects(bench.pin('disk/three'), { code: 'PULL_FAILED', message: /disk is full/ })
    await free()
    await bench.premises().disk.look()
    assert.equal((await bench.run(shell(one, 'echo on'))).code, 'FINISHED')
  })
})
