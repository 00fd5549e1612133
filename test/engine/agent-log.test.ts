/** What a container wrote comes back from the engine's log byte for byte, whatever its lines. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { startEngine } from '../../agent/engine.ts'
import { hostConfigOf } from '../../agent/host-config.ts'
import { createDockerRunner } from '../../agent/runner/docker.ts'
import { connectDocker, pullImage } from '../support/docker.ts'

const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
const engine = startEngine(process.env.HYPER_TEST_DOCKER_HOST ?? '')
const host = { cpus: () => 1, mountDir: '/' }
const runner = createDockerRunner(engine, { agentId: 'log-test', storeId: 'log-test' }, host)

before(async () => {
  await engine.check()
  await pullImage(docker, 'ubuntu:latest')
})
after(() => {
  engine.close()
  close()
})

/** Like hyper-init's trailer, it ends with no newline. */
const END = Buffer.from('\0trailer\0')
const KiB = 1024
const line = (bytes: number): string => `${'x'.repeat(bytes)}\n`

/** Writes `content` to both streams in a container logged as functions are; gives its log. */
const logOf = async (content: Buffer): Promise<{ stdout: Buffer; stderr: Buffer }> => {
  const fence = { memoryBytes: 64 * KiB * KiB, cpus: 1, network: 'none', runtime: '' } as const
  const { LogConfig } = hostConfigOf(
    { ...fence, profile: 'default' },
    { network: '', initPlace: '/.hyper-1' },
    host,
  )
  const container = await docker.createContainer({
    Image: 'ubuntu',
    Cmd: ['tee', '/dev/stderr'],
    ...{ OpenStdin: true, StdinOnce: true, AttachStdin: true },
    HostConfig: { NetworkMode: 'none', LogConfig: LogConfig as never },
  })
  try {
    const socket = await container.attach({ stream: true, stdin: true, hijack: true })
    await container.start()
    socket.end(content)
    await container.wait()
    const parts: { stdout: Uint8Array[]; stderr: Uint8Array[] } = { stdout: [], stderr: [] }
    const sinks = {
      onStdout: (chunk: Uint8Array) => parts.stdout.push(chunk),
      onStderr: (chunk: Uint8Array) => parts.stderr.push(chunk),
    }
    await runner.readLog(container.id, sinks, AbortSignal.timeout(10_000))
    return { stdout: Buffer.concat(parts.stdout), stderr: Buffer.concat(parts.stderr) }
  } finally {
    await container.remove({ force: true, v: true })
  }
}

const lengths = [0, 1, 16, 17, 32, 33, 48, 64, 100].flatMap((kib) => [
  Math.max(0, kib * KiB - 1),
  kib * KiB,
  kib * KiB + 1,
])

const shapes: readonly (readonly [string, Buffer])[] = [
  ['nothing', Buffer.alloc(0)],
  ['lines of every length around the buffer', Buffer.from(lengths.map(line).join(''))],
  [
    'long lines with empty ones between',
    Buffer.from([line(20_000), '\n\n', line(40_000)].join('')),
  ],
  ['one long line without an end', Buffer.alloc(100_000, 'y')],
  ['newlines alone', Buffer.alloc(1000, '\n')],
  ['random bytes', randomBytes(500_000)],
]

for (const [name, content] of shapes) {
  test(`the log is exact for ${name}`, async () => {
    const whole = Buffer.concat([content, END])
    const { stdout, stderr } = await logOf(whole)
    assert.equal(stdout.length, whole.length)
    assert.ok(stdout.equals(whole))
    assert.ok(stderr.equals(whole))
  })
}
