/** A way to the test engine that a test can cut, hold up, or make only when it wants to. */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface EngineProxy {
  readonly dockerHost: string
  /** Cuts all connections and refuses new ones. */
  cut(): void
  restore(): void
  /** Takes nothing more from the engine on connections that are there, as an agent that is paused. */
  stall(): void
  /** Goes on with them. */
  flow(): void
  close(): Promise<void>
}

/** Listens on `path`, else on a free port of loopback. */
export const startEngineProxy = async (socketPath: string, path?: string): Promise<EngineProxy> => {
  const sockets = new Set<Socket>()
  const ways = new Map<Socket, Socket>()
  let isCut = false
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    return socket
  }
  const server = createServer({ allowHalfOpen: true }, (client) => {
    keep(client)
    if (isCut) {
      client.destroy()
      return
    }
    const engine = keep(connect({ path: socketPath, allowHalfOpen: true }))
    client.pipe(engine).pipe(client)
    ways.set(engine, client)
    engine.on('close', () => ways.delete(engine))
    client.on('close', () => engine.destroy())
    engine.on('close', () => client.destroy())
  })
  server.listen(path === undefined ? { port: 0, host: '127.0.0.1' } : { path })
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const cut = (): void => {
    isCut = true
    for (const socket of sockets) socket.destroy()
  }
  return {
    dockerHost: path === undefined ? `tcp://127.0.0.1:${port}` : `unix://${path}`,
    cut,
    restore: () => {
      isCut = false
    },
    stall() {
      for (const [engine, client] of ways) engine.unpipe(client).pause()
    },
    flow() {
      for (const [engine, client] of ways) engine.pipe(client)
    },
    async close() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
