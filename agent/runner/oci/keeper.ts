/**
 * One container under its keeper (init/hyper-keeper.c), from its start to the last word of its
 * streams, and by its folder alone: of a keeper that another process of the agent started, only that
 * is there.
 */

import { close, constants, open, read, write } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { raceAbort } from '../../../protocol/abort.ts'
import { isMissing } from '../../../protocol/errors.ts'
import { limits } from '../../../protocol/limits.ts'
import { type ContainerState, type RunningContainer, released, type Sinks } from '../runner.ts'
import type { Zygote } from './zygote.ts'

export interface KeeperTask {
  readonly id: string
  readonly folder: string
  readonly layers: string
  readonly lower: string
  /** Bound of the writable layer, which is in memory. */
  readonly rootBytes: number
  readonly cgroups: readonly string[]
  /** Absolute, those in others after them: it makes folders v0, v1 … of them. */
  readonly volumes: readonly string[]
  /** How it gets onto a network; none where it has none. */
  readonly link: readonly string[]
  /** By name: the runtime's configuration, and those that the engine keeps for each container. */
  readonly files: Readonly<Record<string, string>>
  /** The engine's default OCI runtime, as a program. */
  readonly runtime: string
  /** The one that the function asked for by name, in its place: program and arguments; else none. */
  readonly runtimeWords: readonly string[]
}

/** The runtime's log and STDERR, as far as the keeper passes them on. */
const SAID_CHARS_MAX = 8194
const NO_READER = 'ENXIO'

const argumentsOf = (task: KeeperTask): string[] => [
  ...[task.folder, task.layers, task.lower, `${task.rootBytes}`],
  ...[`${limits.containerLogBytesMax}`, task.id, ...task.cgroups],
  ...['--', ...task.volumes, '--', ...task.link, '--', ...task.runtimeWords, '--'],
]

const filesOf = ({ files }: KeeperTask): Buffer => {
  const parts = Object.entries(files).flatMap(([name, text]) => {
    const bytes = Buffer.from(text)
    return [Buffer.from(`${name} ${bytes.length}\n`), bytes]
  })
  return Buffer.concat([...parts, Buffer.from('\n')])
}

/**
 * Why the runtime did not start it: the last error of its log; else what it, or the keeper, said
 * beside that; else what there is of the log. Pure.
 */
const reasonOf = (said: string): string => {
  const [, quoted = '""'] =
    [...said.matchAll(/"level":"error","msg":("(?:[^"\\]|\\.)*")/g)].at(-1) ?? []
  const words = String(JSON.parse(quoted))
  const beside = said.replace(/^.*"level":"\w+".*$/gm, '').trim()
  const found = words || beside || said.trim() || 'it ended without a word'
  return found.slice(0, limits.engineQuoteCharsMax)
}

const gone = (stream: Socket): Promise<void> =>
  new Promise((resolve) => stream.once('close', () => resolve()))

/** Resolves once the container runs. Throws why it does not; then nothing of it runs. */
export const startKeeper = async (
  zygote: Pick<Zygote, 'fork'>,
  task: KeeperTask,
  signal: AbortSignal,
): Promise<RunningContainer> => {
  const streams = await zygote.fork(task.id, argumentsOf(task), task.runtime)
  const { stdin, stdout, stderr, report } = streams
  const exited = gone(report)
  const started = new Promise<'started'>((resolve) => report.once('data', () => resolve('started')))
  let said = ''
  const listen = (chunk: Buffer): void => {
    said = (said + chunk.toString()).slice(-SAID_CHARS_MAX)
  }
  stderr.on('data', listen)
  // It says why on STDERR, which it closes as well.
  const failed = Promise.all([exited, gone(stderr)]).then(() => 'failed' as const)
  report.write(filesOf(task))
  try {
    const how = await raceAbort(Promise.race([started, failed]), signal)
    if (how === 'failed') throw new Error(reasonOf(said))
  } catch (error) {
    // This gives the start up. Where "started" is on its way already, the caller's removal ends it.
    report.end()
    await released(Promise.race([started, exited]))
    for (const stream of Object.values(streams)) stream.destroy()
    throw error
  }
  stderr.off('data', listen)
  return createKept(task.id, [stdin, stdout, stderr, report], exited)
}

const createKept = (
  id: string,
  streams: readonly [stdin: Socket, stdout: Socket, stderr: Socket, report: Socket],
  exited: Promise<unknown>,
): RunningContainer => {
  const [stdin, stdout, stderr] = streams
  const early = (): void => {
    throw new Error('the container wrote something before its call')
  }
  let sinks: Sinks = { onStdout: early, onStderr: early }
  let failure: Error | null = null
  const destroy = (): void => {
    for (const stream of streams) stream.destroy()
  }
  // Nobody reads it: its end is not seen by itself.
  void exited.then(() => stdin.destroy())
  const take = (push: () => void): void => {
    try {
      push()
    } catch (error) {
      failure ??= error instanceof Error ? error : new Error(String(error))
      destroy()
    }
  }
  stdout.on('data', (chunk: Buffer) => take(() => sinks.onStdout(chunk)))
  stderr.on('data', (chunk: Buffer) => take(() => sinks.onStderr(chunk)))
  // What cannot be written shows in the end of the others.
  stdin.on('error', () => undefined)
  const endOf = (stream: Socket): Promise<boolean> =>
    new Promise((resolve) => {
      let hasEnded = false
      stream.on('end', () => {
        hasEnded = true
      })
      stream.on('error', (error) => {
        failure ??= error
      })
      stream.on('close', () => resolve(hasEnded))
    })
  const ended = Promise.all([endOf(stdout), endOf(stderr)]).then((all) => {
    const isCut = all.includes(false)
    return failure ?? (isCut ? new Error('the connection to the container was closed') : null)
  })
  const ignore = (): void => {
    sinks = { onStdout: () => undefined, onStderr: () => undefined }
  }
  return {
    id,
    ended,
    read(into) {
      sinks = into
    },
    write(chunks) {
      for (const chunk of chunks) if (stdin.writable) stdin.write(chunk)
    },
    pause() {
      stdout.pause()
      stderr.pause()
    },
    ignore,
    async release() {
      stdin.end()
      await released(exited)
      destroy()
    },
    detach() {
      ignore()
      destroy()
    },
  }
}

const opened = promisify(open)
const closed = promisify(close)
const written = promisify(write)
const readInto = promisify(read)

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code

/** A descriptor; null where there is none, or nobody at its other end. */
const openFifo = async (path: string, access: number): Promise<number | null> => {
  try {
    return await opened(path, access | constants.O_NONBLOCK)
  } catch (error) {
    if (isMissing(error) || hasCode(error, NO_READER)) return null
    throw error
  }
}

/** Whether there is a keeper of this folder. */
export const isKept = async (folder: string): Promise<boolean> => {
  const fifo = await openFifo(join(folder, 'kill'), constants.O_WRONLY)
  if (fifo !== null) await closed(fifo)
  return fifo !== null
}

/** Tells it to end its container. Done as well where there is none. */
export const endKeeper = async (folder: string): Promise<void> => {
  const fifo = await openFifo(join(folder, 'kill'), constants.O_WRONLY)
  if (fifo === null) return
  try {
    await written(fifo, Uint8Array.of(0))
  } catch (error) {
    // It ended since.
    if (!hasCode(error, 'EPIPE')) throw error
  } finally {
    await closed(fifo)
  }
}

const isAtEnd = async (fifo: number): Promise<boolean> => {
  try {
    return (await readInto(fifo, Buffer.alloc(1), 0, 1, null)).bytesRead === 0
  } catch (error) {
    if (hasCode(error, 'EAGAIN')) return false
    throw error
  }
}

/** Resolves once there is no keeper of this folder, or no folder. */
export const untilUnkept = async (folder: string, signal: AbortSignal): Promise<void> => {
  signal.throwIfAborted()
  const fifo = await openFifo(join(folder, 'alive'), constants.O_RDONLY)
  if (fifo === null) return
  // Where nobody wrote since it was opened, Linux tells its end to a read and to no poll.
  if (await isAtEnd(fifo)) return closed(fifo)
  const socket = new Socket({ fd: fifo, readable: true, writable: false })
  try {
    const gone = new Promise<void>((resolve) => {
      socket.on('close', () => resolve())
      socket.on('error', () => undefined)
      socket.resume()
    })
    await raceAbort(gone, signal)
  } finally {
    socket.destroy()
  }
}

/** How it ended, as its keeper wrote it down; null where it did not. */
export const readEnd = async (folder: string): Promise<ContainerState | null> => {
  const text = await readFile(join(folder, 'end'), 'utf8').catch((error: unknown) => {
    if (isMissing(error)) return ''
    throw error
  })
  const [, code, oom] = /^(\d{1,3}) ([01])\n$/.exec(text) ?? []
  if (code === undefined) return null
  return { isRunning: false, exitCode: Number(code), oomKilled: oom === '1' }
}
