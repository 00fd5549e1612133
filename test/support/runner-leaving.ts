/** The part of the runners' suite about containers that outlive who started them, and whose is what. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { eventually } from './eventually.ts'
import {
  discard,
  logOf,
  type OpenCall,
  outputOf,
  sh,
  soon,
  specOf,
  startCall,
} from './runner-call.ts'
import type { RunnerBench } from './runner-suite.ts'

const NEVER_STARTED = 250
const KILLED = 137

/** PID 1 of a container, as the host has it. */
const hostPidOf = async (id: string): Promise<number> => {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const textOf = (name: string): Promise<string> =>
      readFile(join('/proc', pid, name), 'utf8').catch(() => '')
    const isFirst = /^NSpid:.*\t1$/m.test(await textOf('status'))
    if (isFirst && (await textOf('cgroup')).includes(id)) return Number(pid)
  }
  throw new Error(`there is no process of ${id}`)
}

export const testLeaving = (open: () => Promise<RunnerBench>): void => {
  /** One that has begun, and whose process goes on after a moment. */
  const begun = async (script: string, payload: Uint8Array): Promise<OpenCall> => {
    const { runner, images } = await open()
    const spec = { ...sh(`echo begun; sleep 1; ${script}`), payload }
    const running = await startCall(runner, images.ubuntu, spec)
    running.send()
    await eventually(() => running.stdout.bodyBytes > 0)
    return running
  }

  test('one that runs and is let go of goes on, and its log has all of both streams', async () => {
    const { reopen } = await open()
    const payload = randomBytes(512 * 1024)
    const left = await begun('tee /dev/stderr; echo oops >&2; exit 7', payload)
    const { id } = left.container
    left.container.detach()
    const next = await reopen()
    assert.equal((await next.state(id, soon()))?.isRunning, true)
    await next.waitForEnd(id, soon())
    const { stdout, stderr } = await logOf(next, id)
    assert.ok(stdout.equals(left.marks.whole(Buffer.concat([Buffer.from('begun\n'), payload]), 7)))
    assert.ok(stderr.equals(left.marks.whole(Buffer.concat([payload, Buffer.from('oops\n')]), 7)))
    const state = await next.state(id, soon())
    assert.deepEqual(state, { isRunning: false, exitCode: 0, oomKilled: false })
    await next.remove(id, soon())
  })

  test('the log has also what was read before', async () => {
    const { runner } = await open()
    const read = await begun('cat', Buffer.from('without an end of line'))
    await read.told
    await read.container.release()
    await runner.waitForEnd(read.container.id, soon())
    const { stdout, stderr } = await logOf(runner, read.container.id)
    assert.ok(stdout.equals(read.marks.whole('begun\nwithout an end of line', 0)))
    assert.ok(stderr.equals(read.marks.whole('', 0)))
    await discard(runner, read)
  })

  test('one that waits for its call and is let go of ends, and says that nothing was started', async () => {
    const { runner, images, reopen } = await open()
    const container = await runner.start(specOf(images.ubuntu), soon())
    container.detach()
    const next = await reopen()
    await next.waitForEnd(container.id, soon())
    const state = await next.state(container.id, soon())
    assert.deepEqual(state, { isRunning: false, exitCode: NEVER_STARTED, oomKilled: false })
    const { stdout, stderr } = await logOf(next, container.id)
    assert.equal(stdout.length + stderr.length, 0)
    await next.remove(container.id, soon())
  })

  test('one that waits for its call and is released ends, and says that nothing was started', async () => {
    const { runner, images } = await open()
    const container = await runner.start(specOf(images.ubuntu), soon())
    await container.release()
    await runner.waitForEnd(container.id, soon())
    assert.equal((await runner.state(container.id, soon()))?.exitCode, NEVER_STARTED)
    await runner.remove(container.id, soon())
  })

  test('one that is killed from outside ends without trailers, and its state says so', async () => {
    const { runner } = await open()
    const running = await begun('sleep 600', Buffer.alloc(0))
    const { id } = running.container
    process.kill(await hostPidOf(id), 'SIGKILL')
    await assert.rejects(running.told)
    await runner.waitForEnd(id, soon())
    const state = await runner.state(id, soon())
    assert.deepEqual(state, { isRunning: false, exitCode: KILLED, oomKilled: false })
    const { stdout } = await logOf(runner, id)
    assert.ok(stdout.toString('latin1').endsWith('begun\n'))
    assert.equal(running.stdout.trailer, null)
    await discard(runner, running)
  })

  test('a cut frame starts nothing', async () => {
    const { runner, images } = await open()
    const payload = Buffer.from('all of it')
    const cut = await startCall(runner, images.ubuntu, { argv: ['cat'], payload })
    const [front = Buffer.alloc(0)] = cut.marks.frame({ argv: ['cat'], payload })
    cut.container.write([front, payload.subarray(0, 3)])
    await cut.container.release()
    await runner.waitForEnd(cut.container.id, soon())
    assert.equal((await runner.state(cut.container.id, soon()))?.exitCode, NEVER_STARTED)
    assert.equal(cut.stdout.headerSeen, false)
    await discard(runner, cut)
  })

  test('a wait for an end can be given up, and the container goes on', async () => {
    const { runner } = await open()
    const running = await begun('sleep 600', Buffer.alloc(0))
    const { id } = running.container
    const leaving = new AbortController()
    const waiting = runner.waitForEnd(id, leaving.signal)
    leaving.abort()
    await assert.rejects(waiting)
    assert.equal((await runner.state(id, soon()))?.isRunning, true)
    await discard(runner, running)
  })

  test('a wait for an end resolves when the container is removed', async () => {
    const { runner, reopen } = await open()
    const running = await begun('sleep 600', Buffer.alloc(0))
    const { id } = running.container
    const waits = [runner.waitForEnd(id, soon()), (await reopen()).waitForEnd(id, soon())]
    await discard(runner, running)
    await Promise.all(waits)
  })

  test('of a container that is not there nothing is said, and its removal is done', async () => {
    const { runner, images } = await open()
    const { id } = await runner.start(specOf(images.ubuntu), soon()).then(async (container) => {
      container.detach()
      await runner.remove(container.id, soon())
      return container
    })
    await runner.remove(id, soon())
    await runner.waitForEnd(id, soon())
    assert.equal(await runner.state(id, soon()), null)
    assert.equal(await runner.writtenBytes(id, soon()), 0)
    const { stdout, stderr } = await logOf(runner, id)
    assert.equal(stdout.length + stderr.length, 0)
  })

  test('an agent finds its own containers with their labels, and those of no other', async () => {
    const { runner, foreign, images, reopen } = await open()
    const own = await startCall(runner, images.ubuntu, { argv: ['true'], labels: { word: 'own' } })
    const others = await startCall(foreign, images.ubuntu, { argv: ['true'] })
    for (const one of [runner, await reopen()]) {
      const [found, ...more] = await one.list(soon())
      assert.deepEqual(more, [])
      assert.equal(found?.id, own.container.id)
      assert.equal(found.isRunning, true)
      assert.equal(found.labels.word, 'own')
      assert.equal(found.labels.hyper, 'call')
    }
    const agents = [runner, foreign].map(async (one) => {
      const [found] = await one.list(soon())
      return found?.labels['hyper.agent']
    })
    const [first, second] = await Promise.all(agents)
    assert.ok(first !== undefined && second !== undefined && first !== second)
    await own.container.release()
    await runner.waitForEnd(own.container.id, soon())
    assert.equal((await runner.list(soon()))[0]?.isRunning, false)
    await discard(runner, own)
    assert.equal((await foreign.list(soon()))[0]?.id, others.container.id)
    await discard(foreign, others)
  })

  test('what one agent’s container does is nothing to another’s', async () => {
    const { runner, foreign, images } = await open()
    const running = await begun('cat', Buffer.from('mine'))
    assert.equal(await outputOf(foreign, images.ubuntu, { argv: ['echo', 'other'] }), 'other\n')
    await running.told
    assert.equal(Buffer.from(running.stdout.body()).toString(), 'begun\nmine')
    await discard(runner, running)
  })
}
