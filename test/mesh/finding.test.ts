/** An agent finds its coordinator at any of its addresses, whatever the others do. */

import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { PrivateKey } from '@libp2p/interface'
import { startAgent } from '../../agent/agent.ts'
import { settleMembership } from '../../agent/joining.ts'
import { addressesOf } from '../../agent/membership.ts'
import { limits } from '../../protocol/limits.ts'
import { handleAgentChannels, openAgentChannel } from '../../protocol/mesh/agent-channel.ts'
import {
  type CoordinatorNode,
  startAgentNode,
  startCoordinatorNode,
} from '../../protocol/mesh/node.ts'
import { decodeTicket, encodeTicket } from '../../protocol/mesh/ticket.ts'
import { startTestCoordinator } from '../support/coordinator.ts'
import { eventually } from '../support/eventually.ts'
import { idleAgentIn } from '../support/idle-agent.ts'
import { idOf, newKey, quiet } from '../support/mesh.ts'

/** Takes connections and says nothing, as an address whose packets are swallowed. */
const startHole = async (
  t: TestContext,
): Promise<{ address: string; isDialled: () => boolean }> => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { address: `/ip4/127.0.0.1/tcp/${port}`, isDialled: () => sockets.size > 0 }
}

/** Nobody listens there, until somebody does. */
const freeAddress = async (): Promise<string> => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return `/ip4/127.0.0.1/tcp/${port}`
}

const startAt = async (
  t: TestContext,
  key: PrivateKey,
  address: string,
): Promise<CoordinatorNode> => {
  const node = await startCoordinatorNode({
    ...{ key, listen: [address], announce: [], log: quiet },
    ...{ isMember: () => true, isInvitation: () => false },
  })
  t.after(() => node.stop())
  await handleAgentChannels(node, () => undefined)
  return node
}

const startAgentOf = async (t: TestContext, coordinator: string, addresses: readonly string[]) => {
  const agent = await startAgentNode({ key: await newKey(), coordinator, addresses, log: quiet })
  t.after(() => agent.stop())
  return agent
}

test('addresses that swallow packets do not delay the others', async (t) => {
  const node = await startAt(t, await newKey(), '/ip4/127.0.0.1/tcp/0')
  const holes = [await startHole(t), await startHole(t), await startHole(t)]
  const swallowing = holes.map(({ address }) => address)
  const agent = await startAgentOf(t, node.peerId, [...swallowing, ...node.addresses()])
  const begun = performance.now()
  const channel = await openAgentChannel(agent)
  const took = performance.now() - begun
  assert.ok(took < holes.length * limits.handshakeMs, `one after the other: ${took} ms`)
  await channel.close()
  assert.equal(agent.whereabouts.addresses()[0], node.addresses()[0], 'it is the first from now on')
})

test('a coordinator that moved is reached within 1.5 s of its listening at another known address', async (t) => {
  const key = await newKey()
  const [hole, second] = [await startHole(t), await freeAddress()]
  const first = await startAt(t, key, '/ip4/127.0.0.1/tcp/0')
  const agent = await startAgentOf(t, first.peerId, [...first.addresses(), hole.address, second])
  const channel = await openAgentChannel(agent)
  await first.stop()
  await channel.closed
  // It is absent when the dialling begins, and the hole keeps that going.
  const reopening = openAgentChannel(agent)
  await eventually(hole.isDialled)
  await startAt(t, key, second)
  const listening = performance.now()
  assert.equal((await reopening).remotePeer, idOf(key))
  const took = performance.now() - listening
  assert.ok(took < 1500, `it took ${took} ms`)
})

test('an agent finds its coordinator at an address that it was told of, also after a restart', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'finding-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const config = await idleAgentIn(folder)
  const [first, second] = [await freeAddress(), await freeAddress()]
  const both = await startTestCoordinator(t, folder, { mesh: [first, second] })
  const { ticket } = await both.client.invite({ uses: 1, expiresMs: 60_000 })
  const withOne = encodeTicket({ ...decodeTicket(ticket), addresses: [first] })
  const running = await startAgent({ ...config, ticket: withOne }, () => undefined)
  const path = join(config.home, 'membership.json')
  const kept = await eventually(async () => {
    const { addresses, learned } = JSON.parse(await readFile(path, 'utf8'))
    return learned === undefined ? undefined : { addresses, learned }
  })
  assert.deepEqual(kept, { addresses: [first], learned: [first, second] })
  await both.stop()
  const moved = await startTestCoordinator(t, folder, { mesh: [second] })
  const isHere = async (): Promise<boolean> =>
    (await moved.client.agents.list()).some(({ state }) => state === 'alive')
  await eventually(isHere)
  await running.stop()
  await eventually(async () => !(await isHere()))
  const again = await startAgent(config, () => undefined)
  await again.stop()
  assert.equal(again.ready.peerId, running.ready.peerId)
})

test('a membership that an older agent wrote is read', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'finding-'))
  t.after(() => rm(home, { recursive: true, force: true }))
  const written = { coordinator: 'P', addresses: ['/ip4/192.0.2.1/tcp/1'], name: 'N' }
  await writeFile(join(home, 'membership.json'), JSON.stringify(written))
  const key = await newKey()
  const { membership } = await settleMembership({ home, ticket: null, key, log: quiet })
  assert.deepEqual(addressesOf(membership), written.addresses)
})

test('a ticket for the LAN has no address; of a coordinator on loopback alone there is none', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'finding-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const order = { uses: 1, expiresMs: 60_000, lan: true }
  const alone = await startTestCoordinator(t, folder)
  await assert.rejects(alone.client.invite(order), { code: 'BAD_PARAMETER' })
  await alone.stop()
  const announce = ['/ip4/192.0.2.7/tcp/7481']
  const announced = await startTestCoordinator(t, folder, { announce })
  assert.deepEqual(decodeTicket((await announced.client.invite(order)).ticket).addresses, [])
})
