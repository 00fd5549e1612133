/**
 * An agent on a line as slow as some homes have: its results take longer than a lease lasts, and its
 * heartbeats wait behind them. Every call ends with its first attempt all the same.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { ended, newHome, readContext, startHyper } from '../support/deployment.ts'
import { eventually } from '../support/eventually.ts'
import { callAsync, createFunc, waitOutput } from '../support/functions.ts'

const BYTES_PER_SECOND = 60_000
const CALLS = 6
/** Six of them take 100 s; an attempt that is not heard of is lost after 21. */
const OUTPUT_BYTES = 1_000_000
const START_MS = 60_000

const portOf = async (server: Server): Promise<number> => {
  server.listen({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return address.port
}

const freePort = async (): Promise<number> => {
  const server = createServer()
  const port = await portOf(server)
  server.close()
  return port
}

const carry = async (from: Socket, to: Socket, bytesPerSecond: number): Promise<void> => {
  for await (const bytes of from) {
    if (!to.write(bytes)) await once(to, 'drain')
    await pause((bytes.byteLength / bytesPerSecond) * 1000)
  }
  to.end()
}

/** Slow towards the port alone. */
const slowLine = (port: number, sockets: Set<Socket>): Server =>
  createServer((near) => {
    const far = connect({ host: '127.0.0.1', port })
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
    }
    carry(near, far, BYTES_PER_SECOND).catch(() => far.destroy())
    far.pipe(near)
  })

test('results that take longer than a lease lasts are waited for, and no call is run again', async (t) => {
  const port = await freePort()
  const sockets = new Set<Socket>()
  const line = slowLine(port, sockets)
  const linePort = await portOf(line)
  const home = await newHome()
  const mesh = ['--mesh', `/ip4/127.0.0.1/tcp/${port}`]
  const announce = ['--announce', `/ip4/127.0.0.1/tcp/${linePort}`]
  const up = startHyper(
    ['up', '--listen', '127.0.0.1:0', ...mesh, ...announce, '--slots', `${CALLS}`],
    home,
  )
  t.after(async () => {
    up.child.kill('SIGTERM')
    await ended(up.child)
    for (const socket of sockets) socket.destroy()
    line.close()
    await rm(home, { recursive: true, force: true })
  })
  const context = await eventually(
    async () => (up.output().includes('Hyper Func is up.') ? readContext(home) : undefined),
    START_MS,
    up.output,
  )
  const script = `head -c ${OUTPUT_BYTES} /dev/zero`
  const func = await createFunc(context, 'big', 'ubuntu', ['sh', '-c', script])
  const ids = await Promise.all(Array.from({ length: CALLS }, () => callAsync(context, func)))
  const ends = ids.map(async (id) => {
    const answer = await waitOutput(context, func, id)
    const { byteLength } = await answer.arrayBuffer()
    return [answer.status, answer.headers.get('x-hyper-attempt'), byteLength]
  })
  for (const end of await Promise.all(ends)) assert.deepEqual(end, [200, '1', OUTPUT_BYTES])
})
