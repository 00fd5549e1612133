/** gVisor's containers whose keeper is killed: of its processes around them none is left either. */

import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { setTimeout as pause, setImmediate } from 'node:timers/promises'
import { eventually } from '../support/eventually.ts'
import {
  keeperOf,
  leftoversOf,
  OCI_SKIP,
  type OciBench,
  openOciBench,
  processesOf,
} from '../support/oci-bench.ts'
import { discard, sh, soon, specOf, startCall } from '../support/runner-call.ts'

const KILLED = 137
const STEPS = 16

describe('a container of gVisor’s', { skip: OCI_SKIP }, () => {
  let bench: OciBench

  before(async () => {
    bench = await openOciBench('runsc')
  })
  after(() => bench.close())

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
    const began = performance.now()
    const first = await bench.runner.start(specOf(bench.images.ubuntu), soon())
    const startMs = performance.now() - began
    first.detach()
    await bench.runner.remove(first.id, soon())
    for (let step = 0; step < STEPS; step += 1) {
      const settled = bench.runner.start(specOf(bench.images.ubuntu), soon()).catch(() => null)
      const keeper = async (): Promise<number | null> => {
        const [id = 'none yet'] = await readdir(bench.own.home)
        return keeperOf(bench, id).catch(() => null)
      }
      let pid = await keeper()
      for (; pid === null; pid = await keeper()) await setImmediate()
      await pause((startMs * step) / STEPS)
      process.kill(pid, 'SIGKILL')
      const container = await settled
      container?.detach()
      if (container !== null) await bench.runner.remove(container.id, soon())
      await eventually(async () => (await leftoversOf(bench.own)).length === 0)
    }
  })
})
