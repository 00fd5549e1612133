/**
 * One call through a runner as the agent plays it, with nonces of its own, and what its streams must
 * have in them byte for byte.
 */

import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import type { Fence } from '../../agent/host-config.ts'
import { createStreamParser, encodeFrame, type StreamParser } from '../../agent/init/frame.ts'
import { encodeHeader, type InitTrailer } from '../../agent/init/marks.ts'
import type {
  ContainerSpec,
  ContainerState,
  Runner,
  RunningContainer,
} from '../../agent/runner/runner.ts'

const MiB = 1024 * 1024
const SIGTERM = 15
const ATTEMPT = 1
const EXITED = 1
/** A start on a busy machine. */
const LONG_MS = 60_000

export const soon = (): AbortSignal => AbortSignal.timeout(LONG_MS)

export interface CallSpec {
  readonly argv: readonly string[]
  readonly user?: string
  readonly workingDir?: string
  readonly fence?: Partial<Fence>
  readonly labels?: Readonly<Record<string, string>>
  readonly environment?: readonly string[]
  readonly payload?: Uint8Array
}

export const sh = (script: string): Pick<CallSpec, 'argv'> => ({ argv: ['sh', '-c', script] })

export const specOf = (image: string, call: Partial<CallSpec> = {}): ContainerSpec => ({
  image,
  user: call.user ?? '',
  workingDir: call.workingDir ?? '',
  fence: {
    memoryBytes: 64 * MiB,
    cpus: 1,
    network: 'none',
    runtime: '',
    profile: 'default',
    ...call.fence,
  },
  network: '',
  labels: call.labels ?? {},
})

interface Streams {
  readonly stdout: StreamParser
  readonly stderr: StreamParser
}

/** The nonces of one call, and what follows from them. */
export interface Marks {
  frame(call: CallSpec): Uint8Array[]
  /** Readers of both streams, from their first byte. */
  parsers(bytesMax?: number): Streams
  /** A whole stream with `body` in it, of a process that exits with `code`. */
  whole(body: Uint8Array | string, code: number): Buffer
}

export const createMarks = (): Marks => {
  const nonces = { headerNonce: randomBytes(16), trailerNonce: randomBytes(16) }
  const identity = { ...nonces, callId: randomUUID(), attempt: ATTEMPT }
  return {
    frame: ({ argv, environment = [], payload = new Uint8Array(0) }) =>
      encodeFrame({ ...identity, timeoutMs: 0, stopSignal: SIGTERM, argv, environment, payload }),
    parsers: (bytesMax = 4 * MiB) => ({
      stdout: createStreamParser({ ...identity, bytesMax }),
      stderr: createStreamParser({ ...identity, bytesMax }),
    }),
    whole: (body, code) =>
      Buffer.concat([
        encodeHeader(nonces.headerNonce, identity.callId, ATTEMPT),
        Buffer.from(body),
        nonces.trailerNonce,
        Buffer.of(EXITED, 0, code, 0),
      ]),
  }
}

export interface OpenCall extends Streams {
  readonly container: RunningContainer
  readonly marks: Marks
  /** Reads both streams and hands over the frame. `onChunk` is called after each chunk. */
  send(onChunk?: () => void): void
  /** Both trailers came; rejects where the streams ended without. */
  readonly told: Promise<void>
  /** Its streams ended, or broke. */
  hasEnded(): boolean
}

/** A call whose container is started already. */
const openCall = (container: RunningContainer, call: CallSpec): OpenCall => {
  const marks = createMarks()
  const streams = marks.parsers()
  const { stdout, stderr } = streams
  const { promise: told, resolve, reject } = Promise.withResolvers<void>()
  // Not all calls are waited for.
  told.catch(() => undefined)
  let hasEnded = false
  const end = container.ended.then((cut) => {
    hasEnded = true
    reject(new Error('the streams ended without trailers', { cause: cut }))
  })
  end.catch(reject)
  return {
    ...{ ...streams, container, marks, told },
    hasEnded: () => hasEnded,
    send(onChunk = () => undefined) {
      const take = (stream: StreamParser) => (chunk: Uint8Array) => {
        stream.push(chunk)
        if (stdout.trailer !== null && stderr.trailer !== null) resolve()
        onChunk()
      }
      container.read({ onStdout: take(stdout), onStderr: take(stderr) })
      container.write(marks.frame(call))
    },
  }
}

export const startCall = async (runner: Runner, image: string, call: CallSpec): Promise<OpenCall> =>
  openCall(await runner.start(specOf(image, call), soon()), call)

interface Outcome {
  readonly id: string
  readonly stdout: Buffer
  readonly stderr: Buffer
  readonly trailer: InitTrailer
  /** After its end. */
  readonly state: ContainerState | null
}

/** Reads a call to its end, lets it go and removes it. */
export const finishCall = async (runner: Runner, open: OpenCall): Promise<Outcome> => {
  const { container, stdout, stderr } = open
  const { id } = container
  await open.told
  container.ignore()
  await container.release()
  await runner.waitForEnd(id, soon())
  const state = await runner.state(id, soon())
  await runner.remove(id, soon())
  assert.ok(stdout.headerSeen && stderr.headerSeen, 'both streams begin with the header')
  assert.ok(stdout.trailer !== null)
  assert.deepEqual(stderr.trailer, stdout.trailer)
  const bodies = { stdout: Buffer.from(stdout.body()), stderr: Buffer.from(stderr.body()) }
  return { id, ...bodies, trailer: stdout.trailer, state }
}

/** A call from its start to its removal. */
export const call = async (runner: Runner, image: string, spec: CallSpec): Promise<Outcome> => {
  const open = await startCall(runner, image, spec)
  open.send()
  return finishCall(runner, open)
}

/** What a call that must succeed wrote to STDOUT. */
export const outputOf = async (runner: Runner, image: string, spec: CallSpec): Promise<string> => {
  const { stdout, stderr, trailer } = await call(runner, image, spec)
  assert.deepEqual(trailer, { reason: 'exited', bySignal: false, status: 0 }, stderr.toString())
  return stdout.toString()
}

/** Lets it go and removes it, whatever it does. */
export const discard = async (runner: Runner, { container }: OpenCall): Promise<void> => {
  container.detach()
  await runner.remove(container.id, soon())
}

/** What the runner kept of both streams. */
export const logOf = async (
  runner: Runner,
  id: string,
): Promise<{ readonly stdout: Buffer; readonly stderr: Buffer }> => {
  const parts: { stdout: Uint8Array[]; stderr: Uint8Array[] } = { stdout: [], stderr: [] }
  const sinks = {
    onStdout: (chunk: Uint8Array) => parts.stdout.push(chunk),
    onStderr: (chunk: Uint8Array) => parts.stderr.push(chunk),
  }
  await runner.readLog(id, sinks, soon())
  return { stdout: Buffer.concat(parts.stdout), stderr: Buffer.concat(parts.stderr) }
}
