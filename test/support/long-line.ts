/** A TCP line on which everything takes a while, both ways; to what listens at a mesh address on this machine. */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'

const carry = async (from: Socket, to: Socket, delayMs: number): Promise<void> => {
  let last = Promise.resolve()
  for await (const bytes of from) {
    const arrival = pause(delayMs)
    last = Promise.all([last, arrival]).then(() => void to.write(bytes))
  }
  await last
  to.end()
}

/** The address of the line's near end. All of it ends with the test. */
export const startLongLine = async (
  t: TestContext,
  address: string,
  delayMs: number,
): Promise<string> => {
  const [, port = ''] = /\/tcp\/(\d+)/.exec(address) ?? []
  const sockets: Socket[] = []
  const server = createServer((near) => {
    const far = connect({ host: '127.0.0.1', port: Number(port) })
    sockets.push(near, far)
    carry(near, far, delayMs).catch(() => far.destroy())
    carry(far, near, delayMs).catch(() => near.destroy())
  })
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  server.listen({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  const own = server.address()
  if (typeof own !== 'object' || own === null) throw new Error('the line has no port')
  return address.replace(`/tcp/${port}`, `/tcp/${own.port}`)
}
