/**
 * The process of which keepers are forked (init/keeper-zygote.c), and the door at which they knock:
 * each connects four times, as its STDIN, STDOUT, STDERR and report.
 *
 *   (none)   a first fork ─► forking      the runtime's program is copied as it is then
 *   forking  it is old, or another runtime is the default now ─► (none)
 *                                         so that a runtime that was replaced is not used for ever
 *   forking  it ended     ─► (none)       whoever waits for a keeper is told
 *   closed   no keeper is begun; those that there are go on
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, open, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { limits } from '../../../protocol/limits.ts'

const DOOR = 'door'
const HEAD_BYTES_MAX = 256
const NEWLINE = 10

interface KeeperStreams {
  readonly stdin: Socket
  readonly stdout: Socket
  readonly stderr: Socket
  /** Takes the keeper's files, gives a line when its container runs, and closes with it. */
  readonly report: Socket
}

export interface Zygote {
  /** A keeper with these arguments. Throws where none came. */
  fork(id: string, words: readonly string[], runtime: string): Promise<KeeperStreams>
  close(): Promise<void>
}

interface Awaited {
  readonly sockets: Map<number, Socket>
  resolve(streams: KeeperStreams): void
  reject(error: Error): void
}

const streamsOf = (sockets: ReadonlyMap<number, Socket>): KeeperStreams | null => {
  const [stdin, stdout, stderr, report] = [0, 1, 2, 3].map((index) => sockets.get(index))
  return stdin && stdout && stderr && report ? { stdin, stdout, stderr, report } : null
}

/** Resolves with who knocks, and what of its stream came with that put back; '' where nobody says. */
const greet = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    let head = Buffer.alloc(0)
    const leave = (): void => resolve('')
    const listen = (): void => {
      const chunk: Buffer | null = socket.read()
      if (chunk === null) return
      head = Buffer.concat([head, chunk])
      const end = head.indexOf(NEWLINE)
      if (end < 0 && head.length < HEAD_BYTES_MAX) return
      socket.off('readable', listen).off('close', leave)
      if (head.length > end + 1) socket.unshift(head.subarray(end + 1))
      resolve(head.toString('latin1', 0, Math.max(0, end)))
    }
    socket.on('readable', listen).on('close', leave)
  })

export const createZygote = (deps: {
  /** The keeper's program. */
  readonly program: string
  /** For the door alone. */
  readonly folder: string
}): Zygote => {
  const { program, folder } = deps
  const awaited = new Map<string, Awaited>()
  let process: {
    readonly child: ChildProcess
    readonly runtime: string
    readonly ms: number
  } | null = null
  let opening: Promise<() => Promise<void>> | null = null
  let isClosed = false

  const admit = async (socket: Socket): Promise<void> => {
    // What is wrong with it shows in its close.
    socket.on('error', () => undefined)
    const [id = '', index = ''] = (await greet(socket)).split(' ')
    const keeper = awaited.get(id)
    if (keeper === undefined) {
      socket.destroy()
      return
    }
    keeper.sockets.set(Number(index), socket)
    const streams = streamsOf(keeper.sockets)
    if (streams !== null) keeper.resolve(streams)
  }

  /** Paths of sockets are short: the folder is named by a descriptor of it. */
  const openDoor = async (): Promise<() => Promise<void>> => {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await rm(join(folder, DOOR), { force: true })
    const handle = await open(folder, 'r')
    const server = createServer((socket) => void admit(socket))
    try {
      server.listen(`/proc/self/fd/${handle.fd}/${DOOR}`)
      await once(server, 'listening')
    } catch (error) {
      await handle.close()
      throw error
    }
    // A connection that could not be had is one of a keeper that does not come.
    server.on('error', () => undefined)
    server.unref()
    return async () => {
      server.close()
      await rm(join(folder, DOOR), { force: true })
      await handle.close()
    }
  }

  const doorOpened = async (): Promise<void> => {
    opening ??= openDoor()
    try {
      await opening
    } catch (error) {
      opening = null
      throw error
    }
  }

  const tellAll = (error: Error): void => {
    for (const { reject } of awaited.values()) reject(error)
  }

  const end = (): void => {
    process?.child.stdin?.end()
    process = null
  }

  const begin = (runtime: string): ChildProcess => {
    const child = spawn(program, ['--zygote', DOOR, runtime], {
      ...{ cwd: folder, env: {}, detached: true },
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    const ended = (): void => {
      if (process?.child !== child) return
      process = null
      tellAll(new Error('the keepers’ zygote ended'))
    }
    child.on('exit', ended).on('error', ended)
    child.stdin?.on('error', () => undefined)
    child.unref()
    process = { child, runtime, ms: performance.now() }
    return child
  }

  const childFor = (runtime: string): ChildProcess => {
    const isFit =
      process?.runtime === runtime && performance.now() - process.ms < limits.zygoteMsMax
    if (process !== null && isFit) return process.child
    end()
    return begin(runtime)
  }

  return {
    async fork(id, words, runtime) {
      await doorOpened()
      if (isClosed) throw new Error('the agent closes')
      const order = Buffer.from(words.map((word) => `${word}\0`).join(''))
      if (words.length > limits.keeperWordsMax || order.length > limits.keeperWordsBytesMax) {
        throw new Error('the image has too many volumes or layers, or the runtime too many words')
      }
      const sockets = new Map<number, Socket>()
      try {
        return await new Promise<KeeperStreams>((resolve, reject) => {
          const late = setTimeout(reject, limits.keeperForkMs, new Error('no keeper came'))
          awaited.set(id, {
            sockets,
            resolve(streams) {
              clearTimeout(late)
              resolve(streams)
            },
            reject(error) {
              clearTimeout(late)
              reject(error)
            },
          })
          childFor(runtime).stdin?.write(Buffer.concat([Buffer.from(`${order.length}\n`), order]))
        })
      } catch (error) {
        for (const socket of sockets.values()) socket.destroy()
        throw error
      } finally {
        awaited.delete(id)
      }
    },
    async close() {
      isClosed = true
      end()
      tellAll(new Error('the agent closes'))
      const closeDoor = await opening?.catch(() => null)
      opening = null
      await closeDoor?.()
    },
  }
}
