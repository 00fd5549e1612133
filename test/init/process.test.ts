import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { EXEC_ERRNO, type InitFrame } from '../../agent/init/frame.ts'
import { eventually } from '../support/eventually.ts'
import { builtHello, builtInit, builtProgram, isEmulated } from '../support/init-builds.ts'
import { exited, type FramePart, type InitRunOptions, runFrame } from '../support/init-process.ts'

const MEGABYTE = 1 << 20
/** Of hyper-init: its program, the payload, and little else. */
const MEMORY_KB_MAX = 3 * 1024
/** ELF's number of a machine that no test runs on: IBM's z/Architecture. */
const OTHER_MACHINE = 22

let folder = ''
let initPath = ''
let helloPath = ''

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hyper-init-process-'))
  ;[initPath, helloPath] = await Promise.all([builtInit(), builtHello()])
})
after(() => rm(folder, { recursive: true, force: true }))

const run = (part: FramePart, options?: Partial<InitRunOptions>, path = initPath) =>
  runFrame(path, part, options)
const shell = (script: string, part: Partial<InitFrame> = {}, options?: Partial<InitRunOptions>) =>
  run({ argv: ['sh', '-c', script], ...part }, options)

describe('a process under hyper-init', { concurrency: 2 }, () => {
  test('gets its payload byte by byte and gives it back', async () => {
    for (const length of [0, 1, 65_536, MEGABYTE]) {
      const payload = randomBytes(length)
      const { stdout, stderr, status } = await run({ argv: ['cat'], payload })
      assert.ok(payload.equals(stdout.body()))
      assert.deepEqual([stdout.trailer, stderr.trailer], [exited(0), exited(0)])
      assert.ok(stdout.headerSeen && stderr.headerSeen)
      assert.deepEqual([stderr.bodyBytes, status], [0, 0])
    }
  })

  test('gives back a megabyte through pipes and a slow reader', async () => {
    const payload = randomBytes(MEGABYTE)
    const within = ['sh', '-c', '"$0" | { sleep 0.2; cat; }']
    const { stdout, stderr } = await run({ argv: ['cat'], payload }, { within })
    assert.ok(payload.equals(stdout.body()))
    assert.deepEqual([stdout.trailer, stderr.trailer], [exited(0), exited(0)])
  })

  test('gives back a megabyte to an agent that pauses, and none of it waits in memory', async () => {
    const payload = randomBytes(MEGABYTE)
    let paused: Promise<string> | undefined
    const pause = async ({ pid, stdout }: ChildProcess): Promise<string> => {
      stdout?.pause()
      const children = () => readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
      await eventually(async () => (await children()) !== '')
      await sleep(400)
      assert.notEqual(await children(), '', 'the process waits for its reader')
      const status = await readFile(`/proc/${pid}/status`, 'utf8')
      stdout?.resume()
      return status
    }
    const onSpawn = (process: ChildProcess) => {
      paused = pause(process)
    }
    const script = 'cat; dd if=/dev/zero bs=65536 count=64 status=none'
    const { stdout, stderr } = await shell(script, { payload }, { onSpawn })
    const peakKb = Number(/VmHWM:\s+(\d+) kB/.exec((await paused) ?? '')?.[1])
    assert.ok(isEmulated || peakKb < MEMORY_KB_MAX, `${peakKb} KB`)
    assert.ok(Buffer.concat([payload, Buffer.alloc(64 << 16)]).equals(stdout.body()))
    assert.deepEqual([stdout.trailer, stderr.trailer], [exited(0), exited(0)])
  })

  test('does not see the end of its STDIN depend on that of hyper-init', async () => {
    const payload = Buffer.from('whole')
    for (const endInput of [true, false]) {
      const { text, stdout } = await run({ argv: ['cat'], payload }, { endInput })
      assert.deepEqual([text, stdout.trailer], ['whole', exited(0)])
    }
  })

  test('has its exit code and its signal reported, on both streams', async () => {
    const failed = await shell('echo out; echo err >&2; exit 7')
    assert.deepEqual([failed.text, failed.stdout.trailer], ['out\n', exited(7)])
    assert.deepEqual(failed.stderr.trailer, exited(7))
    assert.equal(Buffer.from(failed.stderr.body()).toString(), 'err\n')
    assert.equal(failed.status, 0)
    const killed = await shell('kill -SEGV $$')
    assert.deepEqual(killed.stdout.trailer, { reason: 'signalled', bySignal: true, status: 11 })
    const refusal = await shell('exit 250')
    assert.deepEqual([refusal.stdout.trailer, refusal.status], [exited(250), 0])
  })

  test('may close its STDIN early, with a megabyte to come, or never read it', async () => {
    const payload = randomBytes(MEGABYTE)
    const early = ['exec <&-; sleep 0.1; echo done', 'exec </dev/null; sleep 0.1; echo done']
    for (const script of [...early, 'head -c 3 >/dev/null; echo done', 'echo done']) {
      const { text, stdout } = await shell(script, { payload })
      assert.deepEqual([text, stdout.trailer], ['done\n', exited(0)], script)
    }
    const slept = await shell('sleep 0.2; echo done', { payload })
    assert.deepEqual([slept.text, slept.stdout.trailer], ['done\n', exited(0)])
  })

  test('is ended by SIGPIPE where nobody reads what it writes', async () => {
    const piped = await shell('{ yes; echo $? >&2; } | head -n1')
    assert.deepEqual([piped.text, piped.stdout.trailer], ['y\n', exited(0)])
    assert.equal(Buffer.from(piped.stderr.body()).toString(), '141\n')
    const alone = await shell('kill -PIPE $$')
    assert.deepEqual(alone.stdout.trailer, { reason: 'signalled', bySignal: true, status: 13 })
  })

  test('has default signals, an empty mask and a session of its own', async () => {
    const piped = await shell('cat /proc/self/status', { stopSignal: 10 })
    for (const set of ['SigBlk', 'SigIgn']) assert.match(piped.text, new RegExp(`${set}:\\s+0+\\n`))
    const { text } = await run({ argv: ['cat', '/proc/self/stat'] })
    const [pid, , , , group, session] = text.split(' ')
    assert.deepEqual([group, session], [pid, pid])
  })

  test('has only descriptors 0 to 2, and they block', async () => {
    const { text } = await shell('ls /proc/$$/fd; readlink /proc/$$/fd/0')
    assert.match(text, /^0\n1\n2\npipe:/)
    const flags = await shell('grep -h flags /proc/self/fdinfo/[012]')
    const blocking = flags.text.match(/0\d+/g)?.map((octal) => Number.parseInt(octal, 8) & 0o4000)
    assert.deepEqual(blocking, [0, 0, 0])
  })

  test('gets the environment of the container, overlaid by that of the call', async () => {
    const environment = { KEPT: 'kept', CHANGED: 'old' }
    const added = ['CHANGED=new value\nof two lines', 'ADDED==', 'EMPTY=']
    const { text } = await run({ argv: ['env', '-0'], environment: added }, { environment })
    const seen = text.split('\0').filter((entry) => entry !== '')
    const path = `PATH=${process.env.PATH}`
    assert.deepEqual(seen.toSorted(), [path, 'KEPT=kept', ...added].toSorted())
  })
})

describe('a process that asks its parent to trace it', () => {
  test('lives on, gets its signals, and ends as it would', {
    skip: isEmulated && 'the emulator does not know ptrace',
  }, async () => {
    const traced = await run({ argv: [await builtProgram('self-traced')] })
    assert.deepEqual([traced.text, traced.stdout.trailer], ['handled\n', exited(5)])
  })
})

describe('a command', { concurrency: 2 }, () => {
  const failure = (status: number) => ({ reason: 'exec-failed', bySignal: false, status })
  const file = async (name: string, text: string | Uint8Array, mode: number) => {
    const path = join(folder, name)
    await writeFile(path, text)
    await chmod(path, mode)
    return path
  }
  const ends = async (argv: readonly string[], environment: readonly string[] = []) => {
    const { stdout, stderr, status } = await run({ argv, environment })
    assert.deepEqual([stdout.trailer, status], [stderr.trailer, 0])
    assert.equal(stdout.bodyBytes + stderr.bodyBytes, 0)
    return stdout.trailer
  }

  test('that cannot be executed tells why', async () => {
    const plain = await file('plain', '#!/bin/sh\n', 0o644)
    const foreign = await file('foreign', Buffer.from('\x7fELFnonsense', 'latin1'), 0o755)
    const otherMachine = Buffer.alloc(64)
    otherMachine.write('\x7fELF\x02\x01\x01', 'latin1')
    otherMachine.writeUInt16LE(2, 16) // A program.
    otherMachine.writeUInt16LE(OTHER_MACHINE, 18)
    const elsewhere = await file('elsewhere', otherMachine, 0o755)
    const script = await file('script', '#!/no/such/interpreter\n', 0o755)
    const path = [`PATH=${folder}:/bin`]
    assert.deepEqual(await ends(['no-such-command']), failure(EXEC_ERRNO.ENOENT))
    assert.deepEqual(await ends(['/no/such/command']), failure(EXEC_ERRNO.ENOENT))
    assert.deepEqual(await ends(['']), failure(EXEC_ERRNO.ENOENT))
    assert.deepEqual(await ends([plain]), failure(EXEC_ERRNO.EACCES))
    assert.deepEqual(await ends(['plain'], path), failure(EXEC_ERRNO.EACCES))
    assert.deepEqual(await ends(['/']), failure(EXEC_ERRNO.EACCES))
    assert.deepEqual(await ends([foreign]), failure(EXEC_ERRNO.ENOEXEC))
    assert.deepEqual(await ends(['foreign'], path), failure(EXEC_ERRNO.ENOEXEC))
    assert.deepEqual(await ends([elsewhere]), failure(EXEC_ERRNO.EMEDIUMTYPE))
    assert.deepEqual(await ends(['elsewhere'], path), failure(EXEC_ERRNO.EMEDIUMTYPE))
    assert.deepEqual(await ends([script]), failure(EXEC_ERRNO.ELIBACC))
    assert.deepEqual(await ends(['true', 'x'.repeat(200_000)]), failure(EXEC_ERRNO.E2BIG))
  })

  test('that fails to execute leaves a payload unread without harm', async () => {
    const { stdout } = await run({ argv: ['no-such-command'], payload: randomBytes(MEGABYTE) })
    assert.deepEqual(stdout.trailer, failure(EXEC_ERRNO.ENOENT))
  })

  test('is looked for on the PATH of the call, past what cannot be executed', async () => {
    await mkdir(join(folder, 'first'))
    await mkdir(join(folder, 'second'))
    await writeFile(join(folder, 'first', 'greet'), 'not executable')
    await symlink(helloPath, join(folder, 'second', 'greet'))
    const path = `PATH=/nowhere:${join(folder, 'first')}:${join(folder, 'second')}`
    const found = await run({ argv: ['greet'], environment: [path] })
    assert.equal(found.text, 'Hello from Hyper Func!\n')
    const lost = await run({ argv: ['greet'] }, { environment: { PATH: '/nowhere' } })
    assert.equal(lost.stdout.trailer?.reason, 'exec-failed')
  })

  test('is found on the default PATH where there is none', async () => {
    const within = ['env', '-i']
    const { text } = await run({ argv: ['env'] }, { within })
    assert.equal(text, 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n')
  })

  test('of the hello image greets whom the payload names', async () => {
    const greet = async (name: string) =>
      (await run({ argv: [helloPath, '--any'], payload: Buffer.from(name) })).text
    assert.equal(await greet('Ada\n'), 'Hello, Ada!\n')
    assert.equal(await greet('Ada'), 'Hello, Ada!\n')
  })
})
