import assert from 'node:assert/strict'
import { type ChildProcess, execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { type InitFrame, NEVER_STARTED_STATUS } from '../../agent/init/frame.ts'
import { eventually } from '../support/eventually.ts'
import { builtInit, builtProgram, isEmulated } from '../support/init-builds.ts'
import {
  AS_FIRST_PROCESS,
  exited,
  type FramePart,
  type InitRunOptions,
  runFrame,
  runInit,
} from '../support/init-process.ts'

const GRACE_MS = 300
/** What hyper-init waits for at the most for others to end. */
const REAP_MS = 1000
const MEGABYTE = 1 << 20

let initPath = ''

before(async () => {
  initPath = await builtInit({ defines: { HYPER_STOP_GRACE_MS: GRACE_MS } })
})

const run = (part: FramePart, options?: Partial<InitRunOptions>) =>
  runFrame(initPath, part, options)
const shell = (script: string, part: Partial<InitFrame> = {}, options?: Partial<InitRunOptions>) =>
  run({ argv: ['sh', '-c', script], ...part }, options)

describe('hyper-init ends a process', { concurrency: 2 }, () => {
  test('at its timeout, by its stop signal', async () => {
    const payload = randomBytes(MEGABYTE) // Which the process does not read.
    const slept = await run({ argv: ['sleep', '60'], timeoutMs: 100, payload })
    assert.deepEqual(slept.stdout.trailer, { reason: 'timeout', bySignal: true, status: 15 })
    const script = 'trap "exit 3" USR1; echo ready; while :; do sleep 0.02; done'
    const trapped = await shell(script, { timeoutMs: 200, stopSignal: 10 })
    assert.deepEqual(trapped.stdout.trailer, { reason: 'timeout', bySignal: false, status: 3 })
  })

  test('that does not obey, by a kill after the grace', async () => {
    const begun = performance.now()
    const script = 'trap "" TERM; while :; do sleep 0.02; done'
    const { stdout, stderr } = await shell(script, { timeoutMs: 100 })
    assert.deepEqual(stdout.trailer, { reason: 'timeout', bySignal: true, status: 9 })
    assert.deepEqual(stderr.trailer, stdout.trailer)
    assert.ok(performance.now() - begun >= 100 + GRACE_MS)
  })

  test('with all of its group', async () => {
    const { text, stdout } = await shell('sleep 61 </dev/null >/dev/null 2>&1 & echo $!')
    assert.deepEqual(stdout.trailer, exited(0))
    const path = `/proc/${text.trim()}/cmdline` // Empty once it is a zombie.
    await eventually(async () => (await readFile(path, 'utf8').catch(() => '')) === '')
  })

  test('but not one whose timeout is longer than a timer of 32 bits', async () => {
    for (const timeoutMs of [40 * 86_400_000, Number.MAX_SAFE_INTEGER]) {
      const { stdout } = await run({ argv: ['sleep', '0.05'], timeoutMs })
      assert.deepEqual(stdout.trailer, exited(0))
    }
  })

  test('when it is told to stop', async () => {
    const onOutput = (process: ChildProcess) => void process.kill('SIGTERM')
    const obeyed = await shell('echo ready; exec sleep 60', {}, { onOutput })
    assert.deepEqual(obeyed.stdout.trailer, { reason: 'stopped', bySignal: true, status: 15 })
    const script = 'trap "exit 4" TERM; echo ready; while :; do sleep 0.02; done'
    const trapped = await shell(script, {}, { onOutput })
    assert.deepEqual(trapped.stdout.trailer, { reason: 'stopped', bySignal: false, status: 4 })
    assert.equal(trapped.status, 0)
  })

  test('by the signal of the container, too', async () => {
    const onOutput = (process: ChildProcess) => void process.kill('SIGUSR2')
    const { stdout } = await shell('echo ready; exec sleep 60', { stopSignal: 12 }, { onOutput })
    assert.deepEqual(stdout.trailer, { reason: 'stopped', bySignal: true, status: 12 })
  })

  test('and reports even where its output was stalled', async () => {
    const within = ['sh', '-c', '"$0" | { sleep 0.3; cat; }']
    // With the grace that it has for a reader in a container: this one comes when it can.
    const part = { argv: ['yes'], timeoutMs: 100 }
    const { stdout, stderr } = await runFrame(await builtInit(), part, { within })
    assert.deepEqual(stdout.trailer, { reason: 'timeout', bySignal: true, status: 15 })
    assert.deepEqual(stderr.trailer, stdout.trailer)
    assert.ok(stdout.bodyBytes >= 4096)
  })

  test('and itself, where nobody ever reads', async () => {
    // The reader only holds the pipe, until hyper-init's own end is told on descriptor 4.
    const within = ['sh', '-c', '{ "$0"; echo $? >&4; } | { exec 5<&0; cat <&3; }']
    const begun = performance.now()
    let tookMs = 0
    const onSpawn = ({ stdio }: ChildProcess) => {
      const [hold, told] = [stdio[3], stdio[4]]
      assert.ok(hold instanceof Socket && told instanceof Socket)
      told.once('data', () => {
        tookMs = performance.now() - begun
        hold.end()
      })
    }
    const argv = ['yes']
    const { stdout, stderr } = await run({ argv, timeoutMs: 50 }, { within, onSpawn })
    assert.deepEqual([stdout.bodyBytes, stderr.trailer?.reason], [0, 'timeout'])
    assert.ok(tookMs >= 50 + GRACE_MS)
  })

  test('never, while it waits for a frame; then it starts nothing', {
    skip: isEmulated && 'nothing tells when the emulator passes signals on',
  }, async () => {
    const SIGTERM_BIT = 1n << 14n
    const stop = async (process: ChildProcess) => {
      await eventually(async () => {
        const status = await readFile(`/proc/${process.pid}/status`, 'utf8')
        const caught = /SigCgt:\s+([0-9a-f]+)/.exec(status)?.[1] ?? '0'
        return (BigInt(`0x${caught}`) & SIGTERM_BIT) !== 0n
      })
      process.kill('SIGTERM')
    }
    let stopping: Promise<void> | undefined
    const onSpawn = (process: ChildProcess) => {
      stopping = stop(process)
    }
    const { status } = await runInit(initPath, { input: [], onSpawn })
    await stopping
    assert.equal(status, NEVER_STARTED_STATUS)
  })
})

describe('hyper-init, once it has told all, leaves', { concurrency: 2 }, () => {
  const LEAVE_MS = 500
  const ECHO: FramePart = { argv: ['echo', 'done'] }
  /** How long it stayed after it had told all. */
  const stayOf = async (onTold: (process: ChildProcess) => void, leaveMs: number) => {
    const path = await builtInit({ defines: { HYPER_LEAVE_MS: leaveMs } })
    let toldAt = 0
    const { status, text } = await runFrame(path, ECHO, {
      onTold(process) {
        toldAt = performance.now()
        onTold(process)
      },
    })
    assert.deepEqual([status, text], [0, 'done\n'])
    return performance.now() - toldAt
  }
  const FAR_MS = 15_000

  test('when its STDIN is closed, and not before', async () => {
    const onTold = ({ stdin }: ChildProcess) => void setTimeout(() => stdin?.end(), LEAVE_MS)
    const stayedMs = await stayOf(onTold, FAR_MS)
    assert.ok(stayedMs >= LEAVE_MS - 1 && stayedMs < FAR_MS, `it stayed ${stayedMs} ms`)
  })

  test('when it is told to stop', async () => {
    const stayedMs = await stayOf((process) => void process.kill('SIGTERM'), FAR_MS)
    assert.ok(stayedMs < FAR_MS, `it stayed ${stayedMs} ms`)
  })

  test('in the end by itself, whatever comes on STDIN', async () => {
    const onTold = ({ stdin }: ChildProcess) => void stdin?.write(randomBytes(MEGABYTE))
    const stayedMs = await stayOf(onTold, LEAVE_MS)
    assert.ok(stayedMs >= LEAVE_MS - 50, `it stayed ${stayedMs} ms`)
  })
})

const isRoot = process.getuid?.() === 0

describe('hyper-init as PID 1', { skip: isRoot ? false : 'needs root', concurrency: 2 }, () => {
  const within = AS_FIRST_PROCESS
  const firstProcessOf = async (unshare: ChildProcess) => {
    const path = `/proc/${unshare.pid}/task/${unshare.pid}/children`
    return Number((await readFile(path, 'utf8')).trim())
  }

  test('kills what the process left behind, in whatever session, and waits no longer', async () => {
    const script =
      'setsid sleep 61 & (setsid sh -c "trap \\"\\" TERM; sleep 62" &) ; sleep 0.05; echo done'
    let fastestMs = Number.POSITIVE_INFINITY
    for (let i = 0; i < 3 && fastestMs > REAP_MS; i++) {
      const begun = performance.now()
      const { text, stdout, stderr } = await shell(script, {}, { within })
      assert.deepEqual([text, stdout.trailer, stderr.trailer], ['done\n', exited(0), exited(0)])
      fastestMs = Math.min(fastestMs, performance.now() - begun)
    }
    assert.ok(fastestMs < REAP_MS)
  })

  test('reaps what is left to it while the process lives', async () => {
    const script =
      '(sh -c "exec sleep 0.02" &); sleep 0.2; ls -d /proc/[0-9]* | wc -l; ls -d /proc/1'
    const { text } = await shell(script, {}, { within })
    assert.match(text, /^\s*[34]\n/, 'PID 1, the shell, ls and perhaps wc')
  })

  test('takes away the shared memory that the process left, and no other', {
    skip: isEmulated && 'the emulator keeps System V memory to itself',
  }, async () => {
    const before = 'ipcmk -M 4096 >/dev/null; exec unshare --pid --fork --mount-proc "$0"'
    let left: Promise<number> | undefined
    const segmentsOf = async (unshare: ChildProcess): Promise<number> => {
      const args = ['--target', `${unshare.pid}`, '--ipc', 'cat', '/proc/sysvipc/shm']
      const { stdout } = await promisify(execFile)('nsenter', args)
      return stdout.trim().split('\n').length - 1
    }
    const { text } = await shell(
      'ipcmk -M 4096 >/dev/null; ipcmk -M 8192 >/dev/null; wc -l </proc/sysvipc/shm',
      {},
      {
        within: ['unshare', '--ipc', 'sh', '-c', before],
        onTold(unshare) {
          left = eventually(async () => ((await segmentsOf(unshare)) === 1 ? 1 : undefined))
          left.finally(() => unshare.stdin?.end()).catch(() => undefined)
        },
      },
    )
    assert.equal(text.trim(), '4', 'a head, the one from outside, and two of its own')
    assert.equal(await left, 1)
  })

  test('ignores a stop from inside and obeys one from outside', async () => {
    const inside = await shell('kill -TERM 1; kill -KILL 1; sleep 0.1; echo on', {}, { within })
    assert.deepEqual([inside.text, inside.stdout.trailer], ['on\n', exited(0)])
    const onOutput = (unshare: ChildProcess) =>
      void firstProcessOf(unshare).then((pid) => process.kill(pid, 'SIGTERM'))
    const outside = await shell('echo ready; exec sleep 60', {}, { within, onOutput })
    assert.deepEqual(outside.stdout.trailer, { reason: 'stopped', bySignal: true, status: 15 })
  })

  test('reports, and keeps its time, where the process lowered the limits of PID 1', {
    skip: isEmulated && 'the emulator does not outlive such limits',
  }, async () => {
    const lower = `${await builtProgram('greedy', ['-static', '-s'])} init`
    const { text, stdout, stderr } = await shell(`${lower}; exit 3`, {}, { within })
    assert.match(text, /^[1-9]\d*\n$/, 'it could lower some')
    assert.deepEqual([stdout.trailer, stderr.trailer], [exited(3), exited(3)])
    const payload = randomBytes(MEGABYTE)
    const late = { timeoutMs: 500, payload }
    const timedOut = await shell(`${lower}; exec sleep 60`, late, { within })
    assert.equal(timedOut.stdout.trailer?.reason, 'timeout')
  })

  test('keeps its memory and descriptors from a process of the same user', {
    skip: isEmulated && 'the emulator would have to open the program as that user',
  }, async () => {
    const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    const script =
      'for f in environ mem fd/0 fd/1; do cat /proc/1/$f >/dev/null && echo $f; done; echo end'
    const { text, stderr } = await shell(script, {}, { within: [...within, ...user] })
    assert.equal(text, 'end\n')
    assert.equal(
      Buffer.from(stderr.body())
        .toString()
        .match(/denied/g)?.length,
      4,
    )
  })
})
