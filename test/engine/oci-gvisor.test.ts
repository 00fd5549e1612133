/** gVisor's containers by the OCI runner: their bounds, and that none of its processes outlives a keeper. */

import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as pause, setImmediate } from 'node:timers/promises'
import { limits } from '../../protocol/limits.ts'
import { eventually } from '../support/eventually.ts'
import {
  keeperOf,
  leftoversOf,
  OCI_SKIP,
  type OciBench,
  openOciBench,
  processesOf,
} from '../support/oci-bench.ts'
import { discard, outputOf, sh, soon, specOf, startCall } from '../support/runner-call.ts'

const KILLED = 137
const MiB = 1024 * 1024
const STEPS = 16
const WAIT_MS = 10_000

describe('a container of gVisor’s', { skip: OCI_SKIP }, () => {
  let bench: OciBench

  before(async () => {
    bench = await openOciBench('runsc')
  })
  after(() => bench.close())

  test('is held to its size by its cgroup, as the host sees it', async () => {
    const fence = { memoryBytes: 96 * MiB, cpus: 0.25 }
    const spec = { ...sh('echo begun; sleep 600'), fence }
    const running = await startCall(bench.runner, bench.images.ubuntu, spec)
    const { id } = running.container
    await bench.own.cgroups.check(id, { memoryBytes: fence.memoryBytes, pids: limits.pidsMax })
    const quotas = await Promise.all(
      bench.own.cgroups
        .foldersOf(id)
        .flatMap((folder) => [
          readFile(join(folder, 'cpu.cfs_quota_us'), 'utf8').catch(() => ''),
          readFile(join(folder, 'cpu.max'), 'utf8').catch(() => ''),
        ]),
    )
    assert.ok(
      quotas.some((quota) => /^25000( 100000)?\n$/.test(quota)),
      quotas.join(),
    )
    await discard(bench.runner, running)
  })

  test('that takes more memory than it has is ended for that', async () => {
    const spec = sh('head -c 400000000 /dev/zero | tail -c 300000000 | wc -c')
    const running = await startCall(bench.runner, bench.images.ubuntu, spec)
    running.send()
    await bench.runner.waitForEnd(running.container.id, soon())
    assert.equal((await bench.runner.state(running.container.id, soon()))?.oomKilled, true)
    await running.told.catch(() => undefined)
    await discard(bench.runner, running)
  })

  test('has no network, and of a strict function a closed root and a small /tmp', async () => {
    const script = `
can() { "$@" 2>/dev/null && echo yes || echo no; }
place=$(echo /.hyper-*)
test -d $place && echo root $(can touch /x) init $(can touch $place/x) tmp $(can touch /tmp/x)
echo interfaces $(ls /sys/class/net 2>/dev/null || awk -F: 'NR > 2 { print $1 }' /proc/net/dev)
`
    const spec = { ...sh(script), fence: { profile: 'strict' } } as const
    const said = await outputOf(bench.runner, bench.images.ubuntu, spec)
    assert.equal(said, 'root no init no tmp yes\ninterfaces lo\n')
  })

  test('whose keeper is killed is ended by the next look', async () => {
    const running = await startCall(bench.runner, bench.images.ubuntu, sh('echo begun; sleep 600'))
    running.send()
    await eventually(() => running.stdout.bodyBytes > 0)
    const { id } = running.container
    assert.ok((await processesOf(bench.own, id)).length >= 3, 'its keeper and two of gVisor’s')
    process.kill(await keeperOf(bench, id), 'SIGKILL')
    await bench.runner.waitForEnd(id, soon())
    assert.equal((await bench.runner.state(id, soon()))?.exitCode, KILLED)
    await discard(bench.runner, running)
    await eventually(async () => (await leftoversOf(bench.own)).length === 0)
  })

  test('whose keeper is killed at any moment of its start leaves nothing', async () => {
    const nothingLeft = async (): Promise<void> => {
      let left: readonly string[] = []
      await eventually(
        async () => {
          left = await leftoversOf(bench.own)
          return left.length === 0
        },
        WAIT_MS,
        () => `left: ${left.join(', ')}`,
      )
    }
    let startMs = Number.POSITIVE_INFINITY
    for (let n = 0; n < 3; n += 1) {
      const began = performance.now()
      const container = await bench.runner.start(specOf(bench.images.ubuntu), soon())
      startMs = Math.min(startMs, performance.now() - began)
      container.detach()
      await bench.runner.remove(container.id, soon())
      await nothingLeft()
    }
    let cut = 0
    for (let step = 0; step < STEPS; step += 1) {
      let isSettled = false
      const settled = bench.runner
        .start(specOf(bench.images.ubuntu), soon())
        .catch((error: unknown) => {
          assert.match(String(error), /could not be started/)
          return null
        })
        .finally(() => {
          isSettled = true
        })
      const keeper = async (): Promise<number | null> => {
        const [id = 'none yet'] = await readdir(bench.own.home)
        return keeperOf(bench, id).catch(() => null)
      }
      let pid = await keeper()
      for (; pid === null && !isSettled; pid = await keeper()) await setImmediate()
      // Early ones more often: to see the keeper takes a while already.
      await pause(startMs * (step / STEPS) ** 2)
      // On a busy machine the start may have ended before its keeper was seen.
      if (pid !== null) process.kill(pid, 'SIGKILL')
      const container = await settled
      container?.detach()
      if (container !== null) await bench.runner.remove(container.id, soon())
      else {
        assert.ok(pid !== null, 'it fails only where its keeper was killed')
        cut += 1
      }
      await nothingLeft()
    }
    assert.ok(cut > 0, 'some starts were cut')
  })
})
