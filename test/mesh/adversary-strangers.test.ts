/** Those who are no members: they get no further than the handshake, and have a number of those. */

import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { type TCPSocketOptions, tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2p } from 'libp2p'
import { limits } from '../../protocol/limits.ts'
import { enrol } from '../../protocol/mesh/enrolment.ts'
import { decodeTicket } from '../../protocol/mesh/ticket.ts'
import { sayHello } from '../support/coordinator.ts'
import type { CoordinatorProcess } from '../support/coordinator-process.ts'
import { eventually } from '../support/eventually.ts'
import { newKey, quiet } from '../support/mesh.ts'
import { layer } from '../support/siege.ts'

/** Hosts of the strangers' own: members come from 127.0.0.1. */
const STRANGERS = '127.0.0.2'
const MORE_STRANGERS = ['127.0.0.3', '127.0.0.4', '127.0.0.5', '127.0.0.6', '127.0.0.7']

const startStranger = (localAddress: string): Promise<Libp2p> => {
  // An option of Node's own, which the transport hands on.
  const dialOpts: TCPSocketOptions & { localAddress: string } = { localAddress }
  return createLibp2p({
    transports: [tcp({ dialOpts })],
    connectionEncrypters: [tls()],
    streamMuxers: [yamux()],
    connectionManager: { maxParallelDials: 100 },
  })
}

const dial = (stranger: Libp2p, { mesh }: CoordinatorProcess) =>
  stranger
    .dialProtocol(
      mesh.map((text) => multiaddr(text)),
      '/ipfs/id/1.0.0',
      { force: true },
    )
    .then(
      () => 'let in',
      () => 'refused',
    )

const openSocket = (coordinator: CoordinatorProcess, localAddress = STRANGERS): Socket => {
  const port = Number(/tcp\/(\d+)/.exec(coordinator.mesh[0] ?? '')?.[1])
  const socket = connect({ host: '127.0.0.1', port, localAddress })
  socket.on('error', () => undefined)
  return socket
}

/** Multistream's greeting and the choice of TLS: from here on it is the coordinator that has work. */
const GREETING = Buffer.from('\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n', 'latin1')

test('strangers', async (t) => {
  const siege = await layer(t)
  const { coordinator } = siege

  await t.test('a spent ticket is a stranger’s', async () => {
    const { ticket } = await coordinator.client.invite({ uses: 1, expiresMs: 60_000 })
    const spent = decodeTicket(ticket)
    await enrol({ ticket: spent, key: await newKey(), log: quiet })
    await assert.rejects(enrol({ ticket: spent, key: await newKey(), log: quiet }), {
      code: 'TICKET_SPENT',
    })
  })

  await t.test('handshakes that do not end hold up nobody, and end', async (t2) => {
    const closed = { count: 0 }
    const sockets: Socket[] = []
    t2.after(() => {
      for (const socket of sockets) socket.destroy()
    })
    await siege.during(async () => {
      for (let n = 0; n < 1500; n += 1) {
        const socket = openSocket(coordinator)
        socket.on('close', () => {
          closed.count += 1
        })
        sockets.push(socket)
        if (n % 3 === 0) socket.write(GREETING)
        if (n % 3 === 1) socket.write('GET / HTTP/1.1\r\n')
      }
      // A new member joins meanwhile.
      const { answer } = await sayHello(t2, coordinator, await coordinator.enrol(), { slots: 0 })
      assert.equal(answer.type, 'welcome')
      // A byte now and then is no progress.
      const drip = setInterval(() => {
        for (const socket of sockets) if (socket.writable) socket.write('\x00')
      }, 1000)
      t2.after(() => clearInterval(drip))
      await eventually(() => closed.count === sockets.length, 2 * limits.dialMs)
    })
    assert.ok(
      coordinator.logged.some(
        ({ code, address }) => code === 'FLOODED' && address?.includes(STRANGERS),
      ),
    )
  })

  await t.test('what who waits for a handshake sends is not kept', async (t2) => {
    const sockets: Socket[] = []
    t2.after(() => {
      for (const socket of sockets) socket.destroy()
    })
    await siege.during(async () => {
      // Far more than may be under way, each with as much as a stream would keep: most of a gigabyte in all, and more than have a try.
      const much = Buffer.alloc(4 * 1024 * 1024)
      for (let n = 0; n < 2 * limits.handshakesBurstMax; n += 1) {
        const socket = openSocket(coordinator, '127.0.0.8')
        socket.write(much)
        sockets.push(socket)
      }
      // For that, and not once its turn came or its time was over.
      await eventually(() => sockets.every(({ destroyed }) => destroyed), 3_000)
    })
  })

  await t.test(
    'hundreds of connections with keys that nobody knows are refused, all of them',
    async (t2) => {
      const strangers = await Promise.all(MORE_STRANGERS.map(startStranger))
      t2.after(() => Promise.all(strangers.map((stranger) => stranger.stop())))
      await siege.during(async () => {
        for (let round = 0; round < 3; round += 1) {
          const ends = await Promise.all(
            strangers.flatMap((stranger) =>
              Array.from({ length: 20 }, () => dial(stranger, coordinator)),
            ),
          )
          assert.deepEqual(new Set(ends), new Set(['refused']))
        }
        const { answer } = await sayHello(t2, coordinator, await coordinator.enrol(), { slots: 0 })
        assert.equal(answer.type, 'welcome')
      })
    },
  )
})
