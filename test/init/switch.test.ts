import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { NEVER_STARTED_STATUS } from '../../agent/init/frame.ts'
import { builtInit, builtProgram, isEmulated, sourceOf } from '../support/init-builds.ts'
import {
  AS_FIRST_PROCESS,
  exited,
  type FramePart,
  type InitRunOptions,
  runFrame,
  runInit,
} from '../support/init-process.ts'

const DEAD_MS = 1000
const TURN_MS = 40
/** Of a process that lives longer than a switch that nobody turns. */
const LONG_S = (1.5 * DEAD_MS) / 1000

const SHORT = {
  HYPER_STOP_GRACE_MS: 300,
  HYPER_SWITCH_CHECK_MS: TURN_MS,
  HYPER_SWITCH_DEAD_MS: DEAD_MS,
}
const orphaned = { reason: 'orphaned', bySignal: true, status: 9 }

let initPath = ''
before(async () => {
  initPath = await builtInit({ defines: SHORT })
})

/** A switch, who turns it, and hyper-init that looks at it. */
const placeOf = async (context: TestContext) => {
  const cwd = await mkdtemp(join(tmpdir(), 'hyper-init-switch-'))
  context.after(() => rm(cwd, { recursive: true, force: true }))
  const path = join(cwd, 'switch')
  /** It looks beside the path that it was started by: one program does for all. */
  const here = async (program: string): Promise<string> => {
    const link = join(cwd, 'hyper-init')
    await rm(link, { force: true })
    await symlink(program, link)
    return link
  }
  let count = 0n
  const turnOnce = async (): Promise<void> => {
    const counter = Buffer.alloc(8)
    counter.writeBigUInt64LE(++count)
    await writeFile(path, counter, { flag: count === 1n ? 'w' : 'r+' })
  }
  return {
    path,
    turnOnce,
    here,
    run: async (part: FramePart, options: Partial<InitRunOptions> = {}, program = initPath) =>
      runFrame(await here(program), part, options),
  }
}

/** Does `act` again and again, with pauses, until `use` has ended. */
const during = async <T>(
  use: () => Promise<T>,
  act: () => Promise<void>,
  pauseMs: number,
): Promise<T> => {
  let isOver = false
  const acting = (async () => {
    for (; !isOver; await sleep(pauseMs)) await act()
  })()
  try {
    return await use()
  } finally {
    isOver = true
    await acting
  }
}

describe('the dead man’s switch', { concurrency: 4 }, () => {
  test('ends a process when the counter does not move, and not while it does', async (t) => {
    const { run, turnOnce } = await placeOf(t)
    const lived = await during(() => run({ argv: ['sleep', `${LONG_S}`] }), turnOnce, TURN_MS)
    assert.deepEqual(lived.stdout.trailer, exited(0))
    const begun = performance.now()
    const died = await run({ argv: ['sleep', '60'] })
    assert.deepEqual([died.stdout.trailer, died.stderr.trailer], [orphaned, orphaned])
    assert.equal(died.status, 0)
    assert.ok(performance.now() - begun >= DEAD_MS)
  })

  test('that is missing, or too short, is one that does not move', async (t) => {
    const { run, path } = await placeOf(t)
    const missing = await run({ argv: ['sleep', '60'] })
    assert.deepEqual(missing.stdout.trailer, orphaned)
    await writeFile(path, 'short')
    const short = await run({ argv: ['sleep', '60'] })
    assert.deepEqual(short.stdout.trailer, orphaned)
  })

  test('is still read where the process denied PID 1 any descriptor', {
    skip: (process.getuid?.() !== 0 || isEmulated) && 'needs root, and no emulator',
  }, async (t) => {
    const { run, turnOnce } = await placeOf(t)
    const lower = `${await builtProgram('greedy', ['-static', '-s'])} init`
    const argv = ['sh', '-c', `${lower}; exec sleep ${LONG_S}`]
    const call = () => run({ argv }, { within: AS_FIRST_PROCESS })
    assert.deepEqual((await during(call, turnOnce, TURN_MS)).stdout.trailer, exited(0))
  })

  test('ends an idle hyper-init, too, which then started nothing', async (t) => {
    const { here } = await placeOf(t)
    const { status } = await runInit(await here(initPath), { input: [] })
    assert.equal(status, NEVER_STARTED_STATUS)
  })

  test('kills nobody while an agent is frozen for less than its time', async (t) => {
    const { run, turnOnce } = await placeOf(t)
    const { stdout } = await during(
      () => run({ argv: ['sleep', `${2 * LONG_S}`] }),
      turnOnce,
      DEAD_MS / 4,
    )
    assert.deepEqual(stdout.trailer, exited(0))
  })

  test('kills nobody when container and agent were frozen for long, and both go on', async (t) => {
    const { run, turnOnce } = await placeOf(t)
    await turnOnce()
    const ended = Promise.withResolvers<void>()
    const freeze = async ({ pid = 0 }: ChildProcess): Promise<void> => {
      process.kill(pid, 'SIGSTOP')
      await sleep(LONG_S * 1000)
      process.kill(pid, 'SIGCONT')
      // It has looked, and seen no change since before the frost.
      await sleep(DEAD_MS / 5)
      await during(() => ended.promise, turnOnce, TURN_MS)
    }
    let freezing: Promise<void> | undefined
    const onOutput = (process: ChildProcess) => {
      freezing = freeze(process)
    }
    const argv = ['sh', '-c', `echo ready; sleep ${2 * LONG_S}`]
    const { stdout } = await run({ argv }, { onOutput }).finally(ended.resolve)
    await freezing
    assert.deepEqual(stdout.trailer, exited(0))
  })

  test('counts no time of the wall clock, which leaps here; nor does a timeout', async (t) => {
    const { run, turnOnce } = await placeOf(t)
    const wraps = ['clock_gettime', 'gettimeofday', 'time'].map((name) => `-Wl,--wrap=${name}`)
    const leaping = await builtInit({ defines: SHORT, args: [sourceOf('leaping-clock'), ...wraps] })
    const part = { argv: ['sleep', `${LONG_S}`], timeoutMs: 3_600_000 }
    const lived = await during(() => run(part, {}, leaping), turnOnce, TURN_MS)
    assert.deepEqual(lived.stdout.trailer, exited(0))
    const begun = performance.now()
    const died = await run({ argv: ['sleep', '60'] }, {}, leaping)
    assert.deepEqual(died.stdout.trailer, orphaned)
    assert.ok(performance.now() - begun >= DEAD_MS, 'nor is anyone early')
  })

  test('looks at the counter, and not at the times of its file', async (t) => {
    const { run, turnOnce, path } = await placeOf(t)
    await turnOnce()
    let day = 0
    const touch = () => utimes(path, ++day * 86_400, day * 86_400)
    const touched = await during(() => run({ argv: ['sleep', '60'] }), touch, TURN_MS)
    assert.deepEqual(touched.stdout.trailer, orphaned)
    let turns = 0
    const turnUntimed = async () => {
      await turnOnce()
      await utimes(path, 0, 0)
      turns++
    }
    const lived = await during(() => run({ argv: ['sleep', `${LONG_S}`] }), turnUntimed, TURN_MS)
    assert.deepEqual(lived.stdout.trailer, exited(0))
    assert.ok(turns > 2)
  })
})
