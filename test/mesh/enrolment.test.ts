import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { HyperError } from '../../protocol/errors.ts'
import { onAdvert, publishAdvert } from '../../protocol/mesh/adverts.ts'
import { openAgentChannel } from '../../protocol/mesh/agent-channel.ts'
import { enrol, handleEnrolment } from '../../protocol/mesh/enrolment.ts'
import { createInvitation, invitationKey } from '../../protocol/mesh/identity.ts'
import type { Ticket } from '../../protocol/mesh/ticket.ts'
import { eventually } from '../support/eventually.ts'
import { advertOf, idOf, newKey, quiet, startMesh, type TestMesh } from '../support/mesh.ts'

/** A ticket for one use, and a coordinator that keeps to it. */
const invite = async (t: TestContext): Promise<{ mesh: TestMesh; ticket: Ticket; id: string }> => {
  const mesh = await startMesh(t)
  const { peerId, key } = await createInvitation()
  mesh.invitations.add(peerId)
  await handleEnrolment(mesh.node, {
    admit: async (invitation, newPeerId) => {
      if (!mesh.invitations.delete(invitation)) return new HyperError('TICKET_SPENT', 'spent')
      mesh.members.add(newPeerId)
      return { name: `agent-${mesh.members.size}` }
    },
  })
  const ticket: Ticket = {
    addresses: mesh.node.addresses(),
    coordinator: mesh.node.peerId,
    invitation: key,
    expires: Date.now() + 60_000,
  }
  return { mesh, ticket, id: peerId }
}

test('a ticket enrols a key, and the key then opens a channel', async (t) => {
  const { mesh, ticket } = await invite(t)
  const key = await newKey()
  assert.deepEqual(await enrol({ ticket, key, log: quiet }), { name: 'agent-1' })
  assert.deepEqual([...mesh.members], [idOf(key)])
  const channel = await openAgentChannel(await mesh.agent(key))
  assert.equal(channel.remotePeer, mesh.node.peerId)
})

test('a spent ticket is spent', async (t) => {
  const { mesh, ticket } = await invite(t)
  await enrol({ ticket, key: await newKey(), log: quiet })
  await assert.rejects(enrol({ ticket, key: await newKey(), log: quiet }), { code: 'TICKET_SPENT' })
  assert.equal(mesh.members.size, 1)
})

test('of two who use a ticket at once one is admitted', async (t) => {
  const { mesh, ticket } = await invite(t)
  const attempts = [await newKey(), await newKey()].map((key) => enrol({ ticket, key, log: quiet }))
  const ends = await Promise.allSettled(attempts)
  assert.equal(ends.filter((end) => end.status === 'fulfilled').length, 1)
  const refused = ends.find((end) => end.status === 'rejected')
  assert.equal(refused?.reason.code, 'TICKET_SPENT')
  assert.equal(mesh.members.size, 1)
})

test('what the coordinator answers reaches the agent, and its faults stay its own', async (t) => {
  const mesh = await startMesh(t)
  const { peerId, key } = await createInvitation()
  mesh.invitations.add(peerId)
  let fault: Error = new HyperError('TOO_MANY', 'the mesh is full')
  await handleEnrolment(mesh.node, {
    admit: async () => {
      if (fault instanceof HyperError) return fault
      throw fault
    },
  })
  const { addresses, peerId: coordinator } = mesh.node
  const ticket = {
    addresses: addresses(),
    coordinator,
    invitation: key,
    expires: Date.now() + 60_000,
  }
  const options = { ticket, key: await newKey(), log: quiet }
  await assert.rejects(enrol(options), { code: 'TOO_MANY', message: 'the mesh is full' })
  fault = new Error('disk full')
  await assert.rejects(enrol(options), { code: 'INTERNAL' })
})

test('a ticket of a coordinator that is gone names where it was looked for', async (t) => {
  const { mesh, ticket } = await invite(t)
  await mesh.node.stop()
  const attempt = enrol({ ticket, key: await newKey(), log: quiet })
  await assert.rejects(attempt, (error: HyperError) => {
    assert.equal(error.code, 'UNREACHABLE')
    assert.ok(error.message.includes(ticket.addresses[0] ?? 'no address'))
    return true
  })
})

test('a ticket of another coordinator at the same address is not spent there', async (t) => {
  const { mesh, ticket } = await invite(t)
  const other = { ...ticket, coordinator: idOf(await newKey()) }
  const attempt = enrol({ ticket: other, key: await newKey(), log: quiet })
  await assert.rejects(attempt, { code: 'WRONG_COORDINATOR' })
  assert.equal(mesh.invitations.size, 1)
})

test('an invitation’s own key opens no channel and is not heard', async (t) => {
  const { mesh, ticket } = await invite(t)
  const heard: string[] = []
  onAdvert(mesh.node, (peerId) => heard.push(peerId))
  const agent = await mesh.agent(await invitationKey(ticket.invitation))
  await agent.whereabouts.reach(AbortSignal.timeout(10_000))
  const member = await mesh.member()
  await member.whereabouts.reach(AbortSignal.timeout(10_000))
  const { gossip } = agent.libp2p.services
  gossip.subscribe('hyper-func/adverts/1')
  const overheard: string[] = []
  gossip.addEventListener('message', ({ detail }) => overheard.push(detail.topic))
  let sequence = 0
  await eventually(async () => {
    sequence += 1
    await publishAdvert(agent, advertOf(sequence))
    await publishAdvert(member, advertOf(sequence))
    return heard.length >= 5
  })
  assert.deepEqual(new Set(heard), new Set([member.peerId]))
  assert.deepEqual(overheard, [])
  await assert.rejects(openAgentChannel(agent), { code: 'NOT_A_MEMBER' })
  assert.deepEqual(mesh.channels, [])
})

test('a member cannot enrol others', async (t) => {
  const mesh = await startMesh(t)
  const { peerId, key } = await createInvitation()
  mesh.members.add(peerId)
  const admitted: string[] = []
  await handleEnrolment(mesh.node, {
    admit: async (_, newPeerId) => {
      admitted.push(newPeerId)
      return { name: 'agent' }
    },
  })
  const { addresses, peerId: coordinator } = mesh.node
  const ticket = {
    addresses: addresses(),
    coordinator,
    invitation: key,
    expires: Date.now() + 60_000,
  }
  const attempt = enrol({ ticket, key: await newKey(), log: quiet })
  await assert.rejects(attempt, { code: 'TICKET_SPENT' })
  assert.deepEqual(admitted, [])
})

test('a key that somebody else holds cannot be enrolled', async (t) => {
  const { mesh, ticket } = await invite(t)
  const [mine, others] = [await newKey(), await newKey()]
  const pretended = Object.assign(Object.create(mine), { publicKey: others.publicKey })
  const attempt = enrol({ ticket, key: pretended, log: quiet })
  await assert.rejects(attempt, { code: 'BAD_PARAMETER' })
  assert.equal(mesh.members.size, 0)
  assert.equal(mesh.invitations.size, 1)
})
