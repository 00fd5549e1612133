/**
 * The floor of free space on a file system that really fills.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startTestCoordinator } from '../support/coordinator.ts'
import { diskTest, fill, mountSmallDisk } from '../support/disk.ts'
import { eventually } from '../support/eventually.ts'
import { IMAGE } from '../support/fake-ports.ts'
import { playAgent } from '../support/played-agent.ts'

test(
  'a disk below the floor takes no new call and ends those it has; above it all goes on',
  diskTest,
  async (t) => {
    const mount = await mountSmallDisk(t)
    const coordinator = await startTestCoordinator(t, mount)
    const { client, url } = coordinator
    const key = await coordinator.enrol()
    const agent = await playAgent(t, coordinator, key)
    const func = await client.funcs.create({ Name: 'f', Config: { Image: IMAGE.reference } })
    await agent.close()
    const payload = Buffer.alloc(100_000, 'x')
    const waiting = await Promise.all([1, 2, 3].map(() => client.calls.start(func, { payload })))

    const free = await fill(mount, 5 * 1024 * 1024)
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
    await free()
    await eventually(() =>
      client.calls.start(func).then(
        () => true,
        () => false,
      ),
    )
    assert.equal((await fetch(`${url}/readyz`)).status, 200)
    await coordinator.stop()
  },
)
