/**
 * One hijacked connection to a container's streams. It is asked for by a request of our own with
 * an empty body: what a client puts into the body of an attach can end up in the container's STDIN.
 */

import { type IncomingMessage, request } from 'node:http'
import type { Socket } from 'node:net'
import { limits } from '../../protocol/limits.ts'
import type { EngineAddress } from '../engine-client.ts'
import { createDemuxer } from './demux.ts'
import { type RunningContainer, released, type Sinks } from './runner.ts'

/** Resolves when the engine switched protocols: then both streams of `id` come to this socket. */
export const attach = (
  address: EngineAddress,
  pathPrefix: string,
  id: string,
  signal: AbortSignal,
): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const asked = request({
      ...address,
      method: 'POST',
      path: `${pathPrefix}/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1`,
      headers: { Connection: 'Upgrade', Upgrade: 'tcp', 'Content-Length': '0' },
      agent: false,
      timeout: limits.engineAnswerMs,
      signal,
    })
    asked.on('upgrade', (_response: IncomingMessage, socket: Socket, head: Buffer) => {
      socket.setTimeout(0)
      if (head.length > 0) socket.unshift(head)
      resolve(socket)
    })
    asked.on('response', (response: IncomingMessage) => {
      response.resume()
      reject(new Error(`the engine answered ${response.statusCode} to the attach`))
    })
    asked.on('timeout', () => asked.destroy(new Error('the engine did not answer the attach')))
    asked.on('error', reject)
    asked.end()
  })

/** The streams of a container that is about to be started, over its attached socket. */
export const createAttached = (id: string, socket: Socket): RunningContainer => {
  let failure: Error | null = null
  let hasEnded = false
  let push = (_chunk: Uint8Array): void => {
    throw new Error('the container wrote something before its call')
  }
  // From the start, so that the end of one that waits for its call shows.
  socket.on('data', (chunk: Buffer) => {
    try {
      push(chunk)
    } catch (error) {
      failure ??= error instanceof Error ? error : new Error(String(error))
      socket.destroy()
    }
  })
  const ended = new Promise<Error | null>((resolve) => {
    socket.on('end', () => {
      hasEnded = true
    })
    socket.on('error', (error) => {
      failure ??= error
    })
    socket.on('close', () => {
      const cut = hasEnded ? null : new Error('the connection to the container was closed')
      resolve(failure ?? cut)
    })
  })
  const ignore = (): void => {
    push = () => undefined
  }
  return {
    id,
    ended,
    read(sinks: Sinks) {
      push = createDemuxer(sinks).push
    },
    write(chunks) {
      for (const chunk of chunks) if (socket.writable) socket.write(chunk)
    },
    pause: () => {
      socket.pause()
    },
    ignore,
    async release() {
      socket.end()
      await released(ended)
      socket.destroy()
    },
    detach: () => {
      ignore()
      socket.destroy()
    },
  }
}
