/**
 * A pool over a runner that the test plays: every start waits until the test lets it succeed or fail,
 * and time passes when the test says so.
 */

import { pino } from 'pino'
import type { Clock } from '../../agent/clock.ts'
import { createLull } from '../../agent/lull.ts'
import { createPool, type PoolDeps } from '../../agent/pool.ts'
import type { KindSpec } from '../../agent/pool-kinds.ts'
import type { ContainerSpec, RunningContainer } from '../../agent/runner/runner.ts'
import { limits } from '../../protocol/limits.ts'

const log = pino({ level: 'silent' })

export const specOf = (image: string): KindSpec => ({
  ...{ image, user: '', workingDir: '', network: '' },
  fence: { memoryBytes: 1, cpus: 1, network: 'none', runtime: '', profile: 'default' },
})

/** A clock that goes on when the test says so. */
export const createTestClock = () => {
  let nowMs = 0
  const timers = new Set<{ readonly atMs: number; readonly act: () => void }>()
  const clock: Clock = {
    nowMs: () => nowMs,
    after(ms, act) {
      const timer = { atMs: nowMs + ms, act }
      timers.add(timer)
      return () => timers.delete(timer)
    },
  }
  const pass = async (ms: number): Promise<void> => {
    const untilMs = nowMs + ms
    for (;;) {
      await settle()
      const [next] = [...timers].sort((a, b) => a.atMs - b.atMs)
      if (next === undefined || next.atMs > untilMs) break
      timers.delete(next)
      nowMs = Math.max(nowMs, next.atMs)
      next.act()
    }
    nowMs = untilMs
  }
  return { clock, pass, timers }
}

/** What follows at once has followed. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

interface Start {
  readonly spec: ContainerSpec
  succeed(): Promise<string>
  fail(error: Error): Promise<void>
}

export const createPoolBench = (options: Partial<PoolDeps> = {}) => {
  const { clock, pass, timers } = createTestClock()
  const lull = createLull(clock)
  const starts: Start[] = []
  const removed: string[] = []
  const ends = new Map<string, () => void>()
  let made = 0
  const start = (spec: ContainerSpec, signal: AbortSignal): Promise<RunningContainer> => {
    const { promise, resolve, reject } = Promise.withResolvers<RunningContainer>()
    const done = async (act: () => void): Promise<void> => {
      starts.splice(starts.indexOf(own), 1)
      act()
      await settle()
    }
    const own: Start = {
      spec,
      async succeed() {
        made += 1
        const id = `c${made}`
        const ended = Promise.withResolvers<Error | null>()
        ends.set(id, () => ended.resolve(null))
        const nothing = (): void => undefined
        const streams = { read: nothing, write: nothing, pause: nothing, ignore: nothing }
        const release = async (): Promise<void> => undefined
        await done(() =>
          resolve({ id, ended: ended.promise, detach: nothing, release, ...streams }),
        )
        return id
      },
      fail: (error) => done(() => reject(error)),
    }
    starts.push(own)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    return promise
  }
  const pool = createPool({
    ...{
      clock,
      lull,
      log,
      boot: 'b1',
      startsMax: () => 2,
      isUp: () => true,
      isDiskFull: () => false,
    },
    runner: { start, remove: async (id) => void removed.push(id) },
    room: () => ({ containers: limits.readyMax, bytes: Number.POSITIVE_INFINITY }),
    memoryFreeBytes: () => Number.POSITIVE_INFINITY,
    onChange: () => undefined,
    ...options,
  })

  /** A call: what it got is in the list once it has it. */
  const got: string[] = []
  const failures: Error[] = []
  const call = (kind: string, signal = new AbortController().signal): void => {
    pool
      .take(kind, specOf(kind), signal, ({ id }) => got.push(id))
      .catch((error) => failures.push(error))
  }
  const stock = (kind: string): number => pool.ready().get(kind) ?? 0
  /** Every start there is, and those that follow, succeed; time passes for the lulls between. */
  const fill = async (): Promise<void> => {
    for (let rounds = 0; rounds < 500; rounds += 1) {
      await pass(limits.lullMs)
      if (starts.length === 0) return
      for (const one of [...starts]) await one.succeed()
    }
    throw new Error('the pool fills without an end')
  }
  const end = async (id: string): Promise<void> => {
    ends.get(id)?.()
    await settle()
  }
  return { pool, starts, removed, got, failures, timers, call, stock, fill, pass, end }
}
