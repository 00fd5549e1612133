/** Nothing that a container of the oci runner writes is on the host’s disk, but a bounded log. */

import assert from 'node:assert/strict'
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { limits } from '../../protocol/limits.ts'
import { eventually } from '../support/eventually.ts'
import { OCI_SKIP, type OciBench, openOciBench } from '../support/oci-bench.ts'
import { run } from '../support/program.ts'
import { discard, logOf, sh, soon, specOf, startCall } from '../support/runner-call.ts'

const MiB = 1024 * 1024
/** Its configuration, labels and such. */
const OWN_BYTES_MAX = MiB
/** Of one that is let go of before its call. */
const NEVER_STARTED = 250

/** As the host sees it: without what is mounted in it. */
const sizeOf = async (folder: string): Promise<number> => {
  const names = await readdir(folder, { recursive: true })
  const sizes = names.map(async (name) => (await stat(join(folder, name))).size)
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

describe('the disk of a host', { skip: OCI_SKIP }, () => {
  let bench: OciBench
  before(async () => {
    bench = await openOciBench()
  })
  afterEach(() => eventually(async () => (await bench.leftovers()).length === 0))
  after(() => bench.close())

  for (const profile of ['default', 'strict'] as const) {
    for (const path of ['/file', '/etc/hosts', '/etc/resolv.conf', '/etc/hostname', '/volume/x']) {
      test(`has nothing of what a ${profile} container writes to ${path}`, async () => {
        const script = `dd if=/dev/zero of=${path} bs=1M count=200; echo done; sleep 600`
        const call = { ...sh(script), user: '0', fence: { profile } }
        const writing = await startCall(bench.runner, bench.images.configured, call)
        writing.send()
        // The memory that it takes for its files may be the end of any of its processes.
        const { stdout } = writing
        const isOver = (): boolean =>
          stdout.bodyBytes > 0 || stdout.trailer !== null || writing.hasEnded()
        await eventually(isOver, 30_000)
        const size = await sizeOf(join(bench.own.home, writing.container.id))
        assert.ok(size < OWN_BYTES_MAX, `${size} bytes`)
        await discard(bench.runner, writing)
      })
    }
  }

  test('has of what a container writes to its streams no more than the bound of a log', async () => {
    const spec = sh('head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2')
    const writing = await startCall(bench.runner, bench.images.ubuntu, spec)
    writing.send()
    await writing.told
    const { stdout, stderr } = await logOf(bench.runner, writing.container.id)
    assert.equal(stdout.length, limits.containerLogBytesMax)
    assert.equal(stderr.length, limits.containerLogBytesMax)
    await discard(bench.runner, writing)
  })

  test('of one that nobody reads any more has the same', async () => {
    const spec = sh('echo begun; sleep 1; head -c 20000000 /dev/zero')
    const left = await startCall(bench.runner, bench.images.ubuntu, spec)
    left.send()
    await eventually(() => left.stdout.bodyBytes > 0)
    left.container.detach()
    await bench.runner.waitForEnd(left.container.id, soon())
    const { stdout } = await logOf(bench.runner, left.container.id)
    assert.equal(stdout.length, limits.containerLogBytesMax)
    await bench.runner.remove(left.container.id, soon())
  })

  test('that is full when a container ends has how it ended', async () => {
    const home = join(bench.own.home, '..', 'full')
    await mkdir(home)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', home])
    try {
      const runner = bench.own.openOn({ home })
      const container = await runner.start(specOf(bench.images.ubuntu), soon())
      await assert.rejects(writeFile(join(home, 'filler'), Buffer.alloc(MiB)), { code: 'ENOSPC' })
      container.detach()
      await runner.waitForEnd(container.id, soon())
      const state = await runner.state(container.id, soon())
      assert.deepEqual(state, { isRunning: false, exitCode: NEVER_STARTED, oomKilled: false })
      await runner.remove(container.id, soon())
    } finally {
      await run('umount', ['-l', home])
    }
  })
})
