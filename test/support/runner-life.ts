/** The part of the runners' suite about a call's life: its frame, its streams, its end. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { RunningContainer } from '../../agent/runner/runner.ts'
import { eventually } from './eventually.ts'
import { call, discard, finishCall, outputOf, sh, soon, specOf, startCall } from './runner-call.ts'
import type { RunnerBench } from './runner-suite.ts'

const MiB = 1024 * 1024

/** Blocks the whole process, as a reader does that has other things to do. */
const block = (ms: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

export const testLife = (open: () => Promise<RunnerBench>): void => {
  test('a call is given its input, and its output, its end and its state come back', async () => {
    const { runner, images } = await open()
    const payload = Buffer.from('hello')
    const spec = { ...sh('cat; echo oops >&2; exit 3'), payload }
    const { id, stdout, stderr, trailer, state } = await call(runner, images.ubuntu, spec)
    assert.equal(stdout.toString(), 'hello')
    assert.equal(stderr.toString(), 'oops\n')
    assert.deepEqual(trailer, { reason: 'exited', bySignal: false, status: 3 })
    assert.deepEqual(state, { isRunning: false, exitCode: 0, oomKilled: false })
    assert.equal(await runner.state(id, soon()), null)
  })

  test('exit codes and signals of the process are told apart', async () => {
    const { runner, images } = await open()
    const exited = (status: number) => ({ reason: 'exited', bySignal: false, status }) as const
    const signalled = (status: number) => ({ reason: 'signalled', bySignal: true, status }) as const
    const endings = [
      ['exit 0', exited(0)],
      ['exit 42', exited(42)],
      ['exit 255', exited(255)],
      ['kill -9 $$', signalled(9)],
      ['kill -15 $$', signalled(15)],
    ] as const
    for (const [script, expected] of endings) {
      const { trailer, state } = await call(runner, images.ubuntu, sh(script))
      assert.deepEqual(trailer, expected, script)
      assert.deepEqual(state, { isRunning: false, exitCode: 0, oomKilled: false })
    }
  })

  test('a container that stands ready writes nothing while others come and go, then serves', async () => {
    const { runner, images } = await open()
    const ready = await startCall(runner, images.ubuntu, { argv: ['echo', 'served'] })
    for (const word of ['one', 'two', 'three']) {
      assert.equal(await outputOf(runner, images.ubuntu, { argv: ['echo', word] }), `${word}\n`)
    }
    assert.equal((await runner.state(ready.container.id, soon()))?.isRunning, true)
    // What it wrote unasked would have broken its streams.
    assert.equal(ready.hasEnded(), false)
    ready.send()
    assert.equal((await finishCall(runner, ready)).stdout.toString(), 'served\n')
  })

  test('one that nobody lets go of leaves by itself, and its streams end', async () => {
    const { runner, images } = await open()
    const unreleased = await startCall(runner, images.ubuntu, { argv: ['true'] })
    unreleased.send()
    await unreleased.told
    assert.equal(await unreleased.container.ended, null)
    await runner.waitForEnd(unreleased.container.id, soon())
    const state = await runner.state(unreleased.container.id, soon())
    assert.deepEqual(state, { isRunning: false, exitCode: 0, oomKilled: false })
    await discard(runner, unreleased)
  })

  test('1 MiB goes in and comes out on both streams byte for byte', async () => {
    const { runner, images } = await open()
    const payload = randomBytes(MiB)
    const spec = { argv: ['tee', '/dev/stderr'], payload }
    const { stdout, stderr } = await call(runner, images.ubuntu, spec)
    assert.ok(stdout.equals(payload), 'STDOUT')
    assert.ok(stderr.equals(payload), 'STDERR')
  })

  test('every byte comes through, with newlines or without', async () => {
    const { runner, images } = await open()
    const bytes = Buffer.from(Array.from({ length: 256 }, (_none, byte) => byte))
    const payload = Buffer.concat([Buffer.alloc(3), bytes, Buffer.from('\r\n\n\0'), bytes])
    const spec = { argv: ['tee', '/dev/stderr'], payload }
    const { stdout, stderr } = await call(runner, images.ubuntu, spec)
    assert.deepEqual(stdout, payload)
    assert.deepEqual(stderr, payload)
  })

  test('the two streams are kept apart, and each in its order', async () => {
    const { runner, images } = await open()
    const script = 'for i in $(seq 500); do echo out $i; echo err $i >&2; done'
    const { stdout, stderr } = await call(runner, images.ubuntu, sh(script))
    const lines = (word: string): string =>
      Array.from({ length: 500 }, (_none, i) => `${word} ${i + 1}\n`).join('')
    assert.equal(stdout.toString(), lines('out'))
    assert.equal(stderr.toString(), lines('err'))
  })

  test('a slow reader gets all of it', async () => {
    const { runner, images } = await open()
    const payload = randomBytes(MiB)
    const slow = await startCall(runner, images.ubuntu, { argv: ['tee', '/dev/stderr'], payload })
    slow.send(() => block(10))
    const { stdout, stderr } = await finishCall(runner, slow)
    assert.ok(stdout.equals(payload) && stderr.equals(payload))
  })

  test('one that is no longer read waits with what it writes, and can be removed', async () => {
    const { runner, images } = await open()
    const spec = sh('head -c 50000000 /dev/zero')
    const paused = await startCall(runner, images.ubuntu, spec)
    let seen = 0
    paused.send(() => {
      if (paused.stdout.bodyBytes === 0) return
      paused.container.pause()
      seen += 1
    })
    await eventually(() => seen > 0)
    const seenSoFar = seen
    // It could have ended by now, were it not held up.
    assert.equal(
      await outputOf(runner, images.ubuntu, sh('head -c 50000000 /dev/zero | wc -c')),
      '50000000\n',
    )
    assert.equal((await runner.state(paused.container.id, soon()))?.isRunning, true)
    assert.equal(seen, seenSoFar)
    await discard(runner, paused)
  })

  test('containers side by side have ids and files of their own', async () => {
    const { runner, images } = await open()
    const script = 'test ! -e /mine && echo x > /mine && hostname'
    const calls = [1, 2, 3, 4].map(() => call(runner, images.ubuntu, sh(script)))
    const all = await Promise.all(calls)
    assert.deepEqual(
      all.map(({ trailer }) => trailer.status),
      [0, 0, 0, 0],
    )
    assert.equal(new Set(all.map(({ id }) => id)).size, all.length)
    assert.equal(new Set(all.map(({ stdout }) => stdout.toString())).size, all.length)
  })

  test('a running container is ended and removed, also one that heeds no signal', async () => {
    const { runner, images } = await open()
    const stubborn = sh('trap "" TERM INT HUP; echo up; while :; do sleep 1; done')
    const running = await startCall(runner, images.ubuntu, stubborn)
    running.send()
    await eventually(() => running.stdout.bodyBytes > 0)
    const { id } = running.container
    assert.equal((await runner.state(id, soon()))?.isRunning, true)
    await runner.remove(id, soon())
    await eventually(() => running.hasEnded())
    assert.equal(await runner.state(id, soon()), null)
    running.container.detach()
  })

  test('a start that is given up at any moment leaves nothing', async () => {
    const { runner, images } = await open()
    const start = (signal: AbortSignal): Promise<RunningContainer> =>
      runner.start(specOf(images.ubuntu), signal)
    const remove = async (container: RunningContainer): Promise<void> => {
      container.detach()
      await runner.remove(container.id, soon())
    }
    const began = performance.now()
    await remove(await start(soon()))
    const startMs = performance.now() - began
    const STEPS = 12
    let givenUp = 0
    for (let step = 0; step < STEPS; step += 1) {
      const leaving = new AbortController()
      const settled = start(leaving.signal).then(
        (container) => container,
        (error: unknown) => error,
      )
      await pause((startMs * step) / STEPS)
      leaving.abort()
      const container = await settled
      if (container instanceof Error) {
        assert.equal('code' in container && container.code, 'CALL_CANCELLED')
        givenUp += 1
      } else await remove(container as RunningContainer)
      assert.deepEqual(await runner.list(soon()), [], `given up at step ${step}`)
    }
    assert.ok(givenUp > STEPS / 4, `only ${givenUp} starts were given up`)
    // One that is made late would show by now.
    await pause(startMs)
    assert.deepEqual(await runner.list(soon()), [])
  })
}
