/** Containers of the OCI runtime whose keeper is killed, or whose start is cut: nothing is left of them. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { openCgroups } from '../../agent/runner/oci/cgroups.ts'
import { isKept } from '../../agent/runner/oci/keeper.ts'
import type { RunningContainer } from '../../agent/runner/runner.ts'
import { raceAbort } from '../../protocol/abort.ts'
import { eventually } from '../support/eventually.ts'
import {
  keeperOf,
  leftoversOf,
  mountsOf,
  OCI_SKIP,
  type OciBench,
  openOciBench,
  processesOf,
} from '../support/oci-bench.ts'
import {
  discard,
  logOf,
  type OpenCall,
  outputOf,
  sh,
  soon,
  specOf,
  startCall,
} from '../support/runner-call.ts'

const KILLED = 137

describe('an oci container', { skip: OCI_SKIP }, () => {
  let bench: OciBench

  before(async () => {
    bench = await openOciBench()
  })
  afterEach(async () => {
    for (const { id } of await bench.runner.list(soon())) await bench.runner.remove(id, soon())
    // Whom the keeper leaves, PID 1 of the host reaps in its own time.
    await eventually(async () => (await bench.leftovers()).length === 0)
  })
  after(() => bench.close())

  const begun = async (script: string): Promise<OpenCall> => {
    const running = await startCall(bench.runner, bench.images.ubuntu, sh(`echo begun; ${script}`))
    running.send()
    await eventually(() => running.stdout.bodyBytes > 0)
    return running
  }

  test('has no mount that the host sees, while it waits, runs and after', async () => {
    const waiting = await startCall(bench.runner, bench.images.ubuntu, { argv: ['true'] })
    const running = await begun('sleep 600')
    assert.deepEqual(await mountsOf(bench.own), [])
    await discard(bench.runner, waiting)
    await discard(bench.runner, running)
    assert.deepEqual(await mountsOf(bench.own), [])
  })

  test('whose keeper is killed shows at once, and its processes end at the next look', async () => {
    const running = await begun('(trap "" TERM; sleep 600) & sleep 600')
    const { id } = running.container
    process.kill(await keeperOf(bench, id), 'SIGKILL')
    await running.container.ended
    await eventually(async () => (await bench.runner.state(id, soon()))?.isRunning === false)
    await bench.runner.waitForEnd(id, soon())
    const state = await bench.runner.state(id, soon())
    assert.deepEqual(state, { isRunning: false, exitCode: KILLED, oomKilled: false })
    await eventually(async () => (await processesOf(bench.own, id)).length === 0)
    assert.equal((await bench.runner.list(soon()))[0]?.isRunning, false)
    const { stdout } = await logOf(bench.runner, id)
    assert.ok(stdout.toString('latin1').endsWith('begun\n'), 'what it wrote until then is kept')
    await bench.runner.remove(id, soon())
    assert.equal(await bench.runner.state(id, soon()), null)
    await eventually(async () => (await leftoversOf(bench.own)).length === 0)
  })

  test('whose keeper is killed is waited for by one who waits already', async () => {
    const running = await begun('sleep 600')
    const { id } = running.container
    const next = await bench.reopen()
    const waiting = next.waitForEnd(id, soon())
    process.kill(await keeperOf(bench, id), 'SIGKILL')
    await waiting
    assert.equal((await next.state(id, soon()))?.exitCode, KILLED)
    await discard(next, running)
  })

  test('that waits for its call and whose keeper is killed is removed', async () => {
    const waiting = await startCall(bench.runner, bench.images.ubuntu, { argv: ['true'] })
    const { id } = waiting.container
    process.kill(await keeperOf(bench, id), 'SIGKILL')
    await waiting.container.ended
    await bench.runner.remove(id, soon())
    await eventually(async () => (await leftoversOf(bench.own)).length === 0)
  })

  test('is not in the agent’s cgroup, by which a unit is stopped, nor is its keeper', async () => {
    const name = `hyper-test-${randomBytes(6).toString('hex')}`
    const cgroups = await openCgroups(name)
    const runner = bench.own.openOn({ cgroups })
    const waiting = await startCall(runner, bench.images.ubuntu, { argv: ['true'] })
    const pid = await keeperOf(bench, waiting.container.id)
    const cgroupsOf = async (of: number | 'self'): Promise<readonly string[]> => {
      const lines = (await readFile(`/proc/${of}/cgroup`, 'utf8')).split('\n')
      return lines.filter((line) => /^0::|:name=systemd:/.test(line))
    }
    const own = await cgroupsOf('self')
    const expected = own.map((line) => line.replace(/[^:]*$/, `/${name}/keepers`))
    assert.ok(own.length > 0)
    assert.deepEqual(await cgroupsOf(pid), expected)
    const parents = cgroups.foldersOf('any').map((folder) => dirname(folder))
    await cgroups.close()
    assert.ok(
      await isKept(join(bench.own.home, waiting.container.id)),
      'no folder of it goes early',
    )
    await discard(runner, waiting)
    await cgroups.close()
    for (const parent of parents) await assert.rejects(stat(parent), { code: 'ENOENT' })
  })

  test('that is given up around the start of its keeper leaves nothing', async () => {
    const { home } = bench.own
    for (let step = 0; step < 24; step += 1) {
      const leaving = new AbortController()
      const starting = bench.runner.start(specOf(bench.images.ubuntu), leaving.signal)
      const settled = starting.then(
        (container) => container,
        () => null,
      )
      const isWritten = async (): Promise<boolean> => {
        const [id] = await readdir(home)
        return id !== undefined && (await readdir(join(home, id))).includes('labels.json')
      }
      while (!(await isWritten().catch(() => false))) await setImmediate()
      const from = performance.now()
      while (performance.now() - from < step / 4) await setImmediate()
      leaving.abort()
      // One that was not told would wait for its frame, and we for it.
      const container = await raceAbort(settled, soon())
      container?.detach()
      if (container !== null) await bench.runner.remove(container.id, soon())
      await eventually(async () => (await leftoversOf(bench.own)).length === 0)
    }
  })

  test('that is let go of and removed at once is gone, whichever comes first', async () => {
    for (let round = 0; round < 24; round += 1) {
      const container = await bench.runner.start(specOf(bench.images.ubuntu), soon())
      container.detach()
      for (let turn = 0; turn < round; turn += 1) await setImmediate()
      await bench.runner.remove(container.id, soon())
      assert.equal(await bench.runner.state(container.id, soon()), null)
    }
  })

  test('whose start was cut before its labels were written is found, and can be removed', async () => {
    for (const [id, labels] of [
      ['oci-empty', ''],
      ['oci-half', '{"hyper":"ca'],
    ] as const) {
      await mkdir(join(bench.own.home, id))
      await writeFile(join(bench.own.home, id, 'labels.json'), labels)
      const found = await bench.runner.list(soon())
      assert.deepEqual(found, [{ id, isRunning: false, labels: {} }])
      await bench.runner.remove(id, soon())
    }
    assert.deepEqual(await bench.runner.list(soon()), [])
  })

  test('that is being started is never listed without its labels, which a sweep would take', async () => {
    // So many that writing them takes a while.
    const labels = { many: 'x'.repeat(32_000_000) }
    const starting = bench.runner.start(specOf(bench.images.ubuntu, { labels }), soon())
    let container: RunningContainer | null = null
    const started = starting.then((it) => {
      container = it
    })
    while (container === null) {
      const listed = await bench.runner.list(soon())
      assert.ok(listed.every(({ labels: own }) => own['hyper.agent'] !== undefined))
      await setImmediate()
    }
    await started
    assert.equal((await bench.runner.list(soon())).length, 1)
    const { id, detach } = await starting
    detach()
    await bench.runner.remove(id, soon())
  })

  test('gives back all that it took, so that many come and go', async () => {
    const words = Array.from({ length: 20 }, (_none, index) => `call ${index}`)
    for (let at = 0; at < words.length; at += 4) {
      const some = words.slice(at, at + 4)
      const outputs = some.map((word) =>
        outputOf(bench.runner, bench.images.ubuntu, { argv: ['echo', '-n', word] }),
      )
      assert.deepEqual(await Promise.all(outputs), some)
    }
    assert.deepEqual(await leftoversOf(bench.own), [])
  })
})
