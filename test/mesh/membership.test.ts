import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { handleAgentChannels, openAgentChannel } from '../../protocol/mesh/agent-channel.ts'
import { startAgentNode, startCoordinatorNode } from '../../protocol/mesh/node.ts'
import { eventually } from '../support/eventually.ts'
import { idOf, newKey, openPair, quiet, startMesh } from '../support/mesh.ts'

test('a stranger is told that it is not a member', async (t) => {
  const mesh = await startMesh(t)
  const agent = await mesh.agent(await newKey())
  await assert.rejects(openAgentChannel(agent), { code: 'NOT_A_MEMBER' })
  assert.deepEqual(mesh.channels, [])
  assert.deepEqual(mesh.node.libp2p.getConnections(), [])
})

test('a stranger with a libp2p of its own can open no protocol at all', async (t) => {
  const mesh = await startMesh(t)
  const stranger = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [tls()],
    streamMuxers: [yamux()],
  })
  t.after(() => stranger.stop())
  const opened: string[] = []
  mesh.node.libp2p.addEventListener('connection:open', () => opened.push('connection'))
  const target = mesh.node.addresses().map((text) => multiaddr(text))
  const offered = mesh.node.libp2p.getProtocols()
  assert.ok(offered.length >= 4)
  for (const protocol of offered) {
    await assert.rejects(stranger.dialProtocol(target, protocol))
  }
  assert.deepEqual(opened, [])
})

test('a member opens a channel; taken off the list and disconnected it does not return', async (t) => {
  const mesh = await startMesh(t)
  const { agent, mine, theirs } = await openPair(mesh)
  mesh.members.delete(agent.peerId)
  mesh.node.disconnect(agent.peerId)
  assert.ok((await mine.closed) instanceof Error)
  assert.ok((await theirs.closed) instanceof Error)
  await assert.rejects(openAgentChannel(agent), { code: 'NOT_A_MEMBER' })
})

test('an agent refuses a coordinator with another key at the same address', async (t) => {
  const mesh = await startMesh(t)
  const key = await newKey()
  mesh.members.add(idOf(key))
  const agent = await startAgentNode({
    key,
    coordinator: idOf(await newKey()),
    addresses: mesh.node.addresses(),
    log: quiet,
  })
  t.after(() => agent.stop())
  await assert.rejects(openAgentChannel(agent), (error: { code: string; message: string }) => {
    assert.equal(error.code, 'WRONG_COORDINATOR')
    assert.match(error.message, /127\.0\.0\.1/)
    return true
  })
  assert.deepEqual(mesh.channels, [])
})

test('an absent coordinator is unreachable, at once, and found when it is back', async (t) => {
  const options = {
    key: await newKey(),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    isMember: () => true,
    isInvitation: () => false,
    log: quiet,
  }
  const first = await startCoordinatorNode(options)
  await handleAgentChannels(first, () => undefined)
  const { peerId: coordinator } = first
  const listen = first.addresses()
  const agent = await startAgentNode({
    key: await newKey(),
    coordinator,
    addresses: listen,
    log: quiet,
  })
  t.after(() => agent.stop())
  const channel = await openAgentChannel(agent)
  await first.stop()
  assert.ok((await channel.closed) instanceof Error)
  await assert.rejects(openAgentChannel(agent), { code: 'UNREACHABLE' })
  const before = performance.now()
  await assert.rejects(openAgentChannel(agent, AbortSignal.abort()), { code: 'UNREACHABLE' })
  assert.ok(performance.now() - before < 1000)
  const second = await startCoordinatorNode({ ...options, listen })
  t.after(() => second.stop())
  await handleAgentChannels(second, () => undefined)
  assert.equal((await openAgentChannel(agent)).remotePeer, coordinator)
})

test('a coordinator that does not speak the protocol is of another version', async (t) => {
  const key = await newKey()
  const coordinatorKey = await newKey()
  const node = await startCoordinatorNode({
    key: coordinatorKey,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    isMember: () => true,
    isInvitation: () => false,
    log: quiet,
  })
  t.after(() => node.stop())
  const agent = await startAgentNode({
    key,
    coordinator: node.peerId,
    addresses: node.addresses(),
    log: quiet,
  })
  t.after(() => agent.stop())
  await assert.rejects(openAgentChannel(agent), { code: 'VERSION_MISMATCH' })
})

test('an address that is no address, or not ours, is named', async (t) => {
  const options = {
    key: await newKey(),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: ['/dns4/coordinator.example/tcp/7481'],
    isMember: () => true,
    isInvitation: () => false,
    log: quiet,
  }
  const node = await startCoordinatorNode(options)
  t.after(() => node.stop())
  assert.deepEqual(node.addresses(), options.announce)
  const wrong = [{ announce: ['coordinator:7481'] }, { listen: ['/ip4/256.0.0.1/tcp/1'] }]
  const tooLong = { announce: [...options.announce, `/dns4/${'n'.repeat(200)}.example/tcp/7481`] }
  for (const change of [...wrong, tooLong, { listen: ['/ip4/192.0.2.250/tcp/0'] }]) {
    await assert.rejects(startCoordinatorNode({ ...options, ...change }), { code: 'BAD_PARAMETER' })
  }
})

test('an address that is taken is named', async (t) => {
  const mesh = await startMesh(t)
  const options = {
    key: await newKey(),
    listen: mesh.node.addresses(),
    announce: [],
    isMember: () => true,
    isInvitation: () => false,
    log: quiet,
  }
  await assert.rejects(startCoordinatorNode(options), { code: 'ADDRESS_IN_USE' })
})

test('a member’s second connection does not end its first', async (t) => {
  const mesh = await startMesh(t)
  const { agent, mine } = await openPair(mesh)
  const second = await openAgentChannel(agent)
  await eventually(() => mesh.channels.length === 2)
  await second.close()
  await mine.send({ type: 'leave', session: 7 })
  const { value } = (await mesh.channels[0]?.messages.next()) ?? {}
  assert.deepEqual(value, { type: 'leave', session: 7 })
})
