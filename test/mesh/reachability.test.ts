/** Whether a coordinator is reached, looked at from outside, beside a member that runs. */

import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { openAgentChannel } from '../../protocol/mesh/agent-channel.ts'
import { lookAtAddress } from '../../protocol/mesh/reachability.ts'
import { eventually } from '../support/eventually.ts'
import { heartbeat, idOf, newKey, quiet, startMesh } from '../support/mesh.ts'

const startMeshWithLook = async (t: TestContext) => {
  const mesh = await startMesh(t)
  const [own = ''] = mesh.node.addresses()
  const look = async (key: Awaited<ReturnType<typeof newKey>> | null, address = own) =>
    (await lookAtAddress({ coordinator: mesh.node.peerId, address, key, log: quiet })).how
  return { mesh, look }
}

test('a member is admitted, anybody else refused, and both know that the coordinator is there', async (t) => {
  const { mesh, look } = await startMeshWithLook(t)
  const key = await newKey()
  assert.equal(await look(null), 'refused')
  assert.equal(await look(key), 'refused')
  mesh.members.add(idOf(key))
  assert.equal(await look(key), 'admitted')
})

test('another coordinator, a program that hangs up and a closed port are told apart', async (t) => {
  const { look } = await startMeshWithLook(t)
  const other = await startMesh(t)
  assert.equal(await look(null, other.node.addresses()[0]), 'stranger')
  const program = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => program.listen(0, '127.0.0.1', resolve))
  const bound = program.address()
  assert.ok(bound !== null && typeof bound === 'object')
  const address = `/ip4/127.0.0.1/tcp/${bound.port}`
  assert.equal(await look(null, address), 'stranger')
  await new Promise((resolve) => program.close(resolve))
  assert.equal(await look(null, address), 'silent')
})

test('an agent that runs with the same key goes on as if nobody had looked', async (t) => {
  const { mesh, look } = await startMeshWithLook(t)
  const key = await newKey()
  mesh.members.add(idOf(key))
  const agent = await mesh.agent(key)
  const mine = await openAgentChannel(agent)
  const theirs = await eventually(() => mesh.channels[0])
  assert.equal(await look(key), 'admitted')
  await eventually(() => mesh.node.libp2p.getConnections(agent.libp2p.peerId).length === 1)
  assert.equal(mesh.channels.length, 1)
  await mine.send(heartbeat(7))
  const { value } = await theirs.messages.next()
  assert.deepEqual(value, heartbeat(7))
})
