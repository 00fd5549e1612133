/**
 * The floor of free space on a file system that really fills: 64 MB of ext4 on a loop device. Needs
 * root; says so where it is not.
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, statfs, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { startTestCoordinator } from '../support/coordinator.ts'
import { eventually } from '../support/eventually.ts'
import { IMAGE } from '../support/fake-ports.ts'
import { playAgent } from '../support/played-agent.ts'

const run = promisify(execFile)
const MiB = 1024 * 1024

const mountSmall = async (t: TestContext, bytes: number): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'floor-'))
  const [image, mount] = [join(folder, 'disk'), join(folder, 'mount')]
  t.after(async () => {
    await run('umount', [mount]).catch(() => undefined)
    await rm(folder, { recursive: true, force: true })
  })
  await mkdir(mount)
  await writeFile(image, '')
  await truncate(image, bytes)
  await run('mkfs.ext4', ['-q', '-m', '0', image])
  await run('mount', ['-o', 'loop', image, mount])
  return mount
}

const fill = async (mount: string, leftBytes: number): Promise<string> => {
  const { bavail, bsize } = await statfs(mount)
  const path = join(mount, 'ballast')
  await writeFile(path, Buffer.alloc(bavail * bsize - leftBytes, 1))
  return path
}

const isRoot = process.getuid?.() === 0

test('a disk below the floor takes no new call and ends those it has; above it all goes on', {
  skip: isRoot ? false : 'mounting a file system needs root',
}, async (t) => {
  const mount = await mountSmall(t, 64 * MiB)
  const coordinator = await startTestCoordinator(t, mount)
  const { client, url } = coordinator
  const key = await coordinator.enrol()
  const agent = await playAgent(t, coordinator, key)
  const func = await client.funcs.create({ Name: 'f', Config: { Image: IMAGE.reference } })
  await agent.close()
  const payload = Buffer.alloc(100_000, 'x')
  const waiting = await Promise.all([1, 2, 3].map(() => client.calls.start(func, { payload })))

  const ballast = await fill(mount, 5 * MiB)
  const refusal = await eventually(async () => {
    const answer = await fetch(`${url}/call/f/${func.UUID}`, { method: 'POST', body: 'x' })
    return answer.status === 503 ? answer : false
  })
  assert.equal(refusal.headers.get('x-hyper-error'), 'DISK_FULL')
  assert.ok(Number(refusal.headers.get('retry-after')) > 0)
  const readiness = await fetch(`${url}/readyz`)
  assert.equal(readiness.status, 503)
  assert.match(await readiness.text(), /disk has [0-6] MB free, under the floor of [56] MB/)

  await playAgent(t, coordinator, key)
  for (const callId of waiting) {
    const answer = await client.calls.output(func, callId, { wait: true })
    assert.ok(answer.state === 'finished')
    assert.deepEqual(Buffer.concat(await answer.body.toArray()), payload)
  }
  await rm(ballast)
  await eventually(() =>
    client.calls.start(func).then(
      () => true,
      () => false,
    ),
  )
  assert.equal((await fetch(`${url}/readyz`)).status, 200)
  await coordinator.stop()
})
