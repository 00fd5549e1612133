/** How calls end on a real engine: one container each, and what the agent says of it. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import type { AttemptResult } from '../../protocol/call.ts'
import type { ImagePin } from '../../protocol/image.ts'
import { limits } from '../../protocol/limits.ts'
import type { Assignment } from '../../protocol/messages.ts'
import { type AgentBench, createAgentBench } from '../support/agent-bench.ts'

const MiB = 1024 * 1024
let bench: AgentBench
let ubuntu: ImagePin

before(async () => {
  bench = await createAgentBench()
  await bench.open()
  await bench.connect()
  ubuntu = await bench.pin('ubuntu')
})
after(() => bench.close())

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
const sh = (script: string): Pick<Assignment, 'cmd'> => ({ cmd: ['sh', '-c', script] })

interface Row {
  readonly name: string
  readonly call: Partial<Assignment>
  readonly code: AttemptResult['code']
  readonly exitCode: number | null
  readonly started?: boolean
  readonly message?: RegExp
  readonly stdout?: string
  readonly stderr?: string
}

const rows: readonly Row[] = [
  {
    name: 'echo gives its words',
    call: { cmd: ['echo', 'HelloWorld'] },
    ...{ code: 'FINISHED', exitCode: 0, stdout: 'HelloWorld\n', stderr: '' },
  },
  {
    name: 'STDOUT and STDERR stay apart',
    call: sh('echo out; echo err >&2'),
    ...{ code: 'FINISHED', exitCode: 0, stdout: 'out\n', stderr: 'err\n' },
  },
  {
    name: 'the environment of the call is over that of the image',
    call: { ...sh('echo "$A $PATH"'), environment: ['A=1', 'PATH=/bin', 'A=2'] },
    ...{ code: 'FINISHED', exitCode: 0, stdout: '2 /bin\n' },
  },
  {
    name: 'user and working directory are the function’s',
    call: { ...sh('id -u; pwd'), user: 'ubuntu', workingDir: '/tmp' },
    ...{ code: 'FINISHED', exitCode: 0, stdout: '1000\n/tmp\n' },
  },
  {
    name: 'an exit code is the function’s own answer',
    call: sh('echo why >&2; exit 7'),
    ...{ code: 'CALL_EXITED', exitCode: 7, message: /^exit code 7$/, stderr: 'why\n' },
  },
  {
    name: 'exit code 250 of a function is no proof of anything',
    call: sh('exit 250'),
    ...{ code: 'CALL_EXITED', exitCode: 250 },
  },
  {
    name: 'a signal is named',
    call: sh('kill -USR1 $$'),
    ...{ code: 'CALL_SIGNALLED', exitCode: 138, message: /SIGUSR1/ },
  },
  {
    name: 'too much memory is told from a kill',
    call: sh('dd if=/dev/zero of=/dev/null bs=200M count=1'),
    ...{ code: 'CALL_OUT_OF_MEMORY', exitCode: 137 },
  },
  {
    name: 'a kill is told from too much memory',
    call: sh('kill -KILL $$'),
    ...{ code: 'CALL_SIGNALLED', exitCode: 137, message: /SIGKILL/ },
  },
  {
    name: 'a call that runs too long times out',
    call: { ...sh('echo partial; exec sleep 60'), timeoutMs: 300 },
    ...{ code: 'CALL_TIMED_OUT', exitCode: null },
  },
  {
    name: 'more than 1 MB of output is too large',
    call: { cmd: ['cat', '/dev/zero'] },
    ...{ code: 'OUTPUT_TOO_LARGE', exitCode: null },
  },
  {
    name: 'a command that is not there is not found',
    call: { cmd: ['foo'] },
    ...{ code: 'COMMAND_NOT_FOUND', exitCode: null },
    message: /command not found in the image: "foo"/,
  },
  {
    name: 'a command that is no program is not executable',
    call: { cmd: ['/etc/passwd'] },
    ...{ code: 'COMMAND_NOT_EXECUTABLE', exitCode: null },
  },
  {
    name: 'an unknown user is told',
    call: { cmd: ['id'], user: 'nobody-knows' },
    ...{ code: 'USER_NOT_FOUND', exitCode: null, started: false, message: /nobody-knows/ },
  },
  {
    name: 'a working directory that is a file is told',
    call: { cmd: ['pwd'], workingDir: '/etc/passwd' },
    ...{ code: 'WORKING_DIR_INVALID', exitCode: null, started: false },
  },
  {
    name: 'a strict function writes nowhere but /tmp, as nobody',
    call: { ...sh('id -u; touch /tmp/a && touch /x'), profile: 'strict' },
    ...{ code: 'CALL_EXITED', exitCode: 1, stdout: '65534\n' },
  },
  {
    name: 'a default function has no capabilities',
    call: sh('grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status'),
    ...{ code: 'FINISHED', exitCode: 0, stdout: 'CapEff:\t0000000000000000\nNoNewPrivs:\t1\n' },
  },
  {
    name: 'a compat function changes its user',
    call: { ...sh('chown ubuntu /tmp/ && su ubuntu -c "id -u"'), profile: 'compat' },
    ...{ code: 'FINISHED', exitCode: 0, stdout: '1000\n' },
  },
  {
    name: 'children that are left behind do not hold up the answer',
    call: sh('sleep 60 & echo done'),
    ...{ code: 'FINISHED', exitCode: 0, stdout: 'done\n' },
  },
  {
    name: 'a bridge network is there when asked for',
    call: { ...sh('ls /sys/class/net | sort | tr "\\n" " "'), network: 'bridge' },
    ...{ code: 'FINISHED', exitCode: 0, stdout: 'eth0 lo ' },
  },
]

for (const row of rows) {
  test(row.name, async () => {
    const result = await bench.run({ ...row.call, image: ubuntu })
    const { code, exitCode, started } = result
    assert.deepEqual(
      { code, exitCode, started },
      { code: row.code, exitCode: row.exitCode, started: row.started ?? true },
      result.message,
    )
    if (row.message !== undefined) assert.match(result.message, row.message)
    if (row.stdout !== undefined) assert.equal(text(result.stdout), row.stdout)
    if (row.stderr !== undefined) assert.equal(text(result.stderr), row.stderr)
    assert.deepEqual(await bench.containers(), [])
  })
}

test('1 MB goes through byte for byte', async () => {
  const payload = randomBytes(limits.payloadBytesMax)
  const result = await bench.run({ image: ubuntu, cmd: ['cat'], payload })
  assert.equal(result.code, 'FINISHED')
  assert.ok(payload.equals(result.stdout))
})

test('a function that never reads its input holds nobody up', async () => {
  const payload = randomBytes(limits.payloadBytesMax)
  const result = await bench.run({ image: ubuntu, cmd: ['echo', 'fine'], payload })
  assert.equal(text(result.stdout), 'fine\n')
})

test('1 MB of output is allowed, with 1 byte more it is not', async () => {
  const cat = (bytes: number): Promise<AttemptResult> =>
    bench.run({ image: ubuntu, ...sh(`head -c ${bytes} /dev/zero`) })
  const most = await cat(limits.stdoutBytesMax)
  assert.deepEqual([most.code, most.stdout.length], ['FINISHED', limits.stdoutBytesMax])
  assert.equal((await cat(limits.stdoutBytesMax + 1)).code, 'OUTPUT_TOO_LARGE')
})

test('STDERR beyond its bound is dropped, and the call goes on', async () => {
  const result = await bench.run({
    image: ubuntu,
    ...sh('head -c 8000000 /dev/zero >&2; echo done'),
  })
  assert.deepEqual(
    [result.code, text(result.stdout), result.stderr.length],
    ['FINISHED', 'done\n', limits.stderrBytesMax],
  )
})

test('the hello image greets, without any registry', async () => {
  const image = await bench.pin('hyper-func/hello')
  assert.equal(image.digest, null)
  const result = await bench.run({ image, payload: Buffer.from('Ada') })
  assert.equal(text(result.stdout), 'Hello, Ada!\n')
})

test('an image with one static program and nothing else runs', async () => {
  const result = await bench.run({ image: await bench.pin('hyper-test/static') })
  assert.deepEqual([result.code, result.exitCode], ['FINISHED', 0])
})

test('an image for another platform is named as such', async () => {
  const result = await bench.run({ image: await bench.pin('hyper-test/other-platform') })
  assert.equal(result.code, 'PLATFORM_MISMATCH')
  assert.match(result.message, /linux\/(arm64|amd64)/)
})

test('a program for another platform is named as such, whatever its image says of itself', async () => {
  const result = await bench.run({ image: await bench.pin('hyper-test/mislabelled') })
  assert.equal(result.code, 'PLATFORM_MISMATCH')
  assert.match(result.message, /"\/hello" is built for another platform.*linux\/(arm64|amd64)/)
  assert.equal(Buffer.from(result.stdout).toString(), '')
})

test('a function and an image without any command are told', async () => {
  const result = await bench.run({ image: await bench.pin('v4tech/imagemagick') })
  assert.deepEqual([result.code, result.started], ['COMMAND_NOT_FOUND', false])
  assert.match(result.message, /no command/)
})

test('an image that no registry has is not found', async () => {
  const digest = `sha256:${'0'.repeat(64)}`
  const registry = process.env.HYPER_TEST_REGISTRY ?? ''
  const image = { reference: `${registry}/nowhere:latest`, digest, id: digest }
  const result = await bench.run({ image, cmd: ['true'] })
  assert.deepEqual([result.code, result.started], ['IMAGE_NOT_FOUND', false])
})

test('a removed image is pulled again by its digest', async () => {
  const image = await bench.pin('hyper-test/static')
  const { docker } = bench.premises().engine
  const images = docker as unknown as {
    getImage(name: string): { remove(options: object): Promise<unknown> }
  }
  await images.getImage(image.id).remove({ force: true })
  const result = await bench.run({ image })
  assert.equal(result.code, 'FINISHED', result.message)
})

test('eight calls at once each have their own container', async () => {
  const keys = Array.from({ length: 8 }, (_value, index) =>
    bench.assign({ image: ubuntu, ...sh(`cat; echo ${index}`), memoryBytes: 32 * MiB }),
  )
  const outputs = await Promise.all(keys.map(async (key) => text((await bench.result(key)).stdout)))
  assert.deepEqual(
    outputs,
    keys.map((_key, index) => `${index}\n`),
  )
  for (const key of keys) bench.acknowledge(key)
  await bench.quiet()
})
