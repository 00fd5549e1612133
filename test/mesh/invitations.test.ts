/** What a ticket is good for, and what whoever comes with one that is not is told, at both ends. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { ERRORS, type ErrorCode, HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { openAgentChannel } from '../../protocol/mesh/agent-channel.ts'
import { enrol } from '../../protocol/mesh/enrolment.ts'
import { createInvitation, invitationKey } from '../../protocol/mesh/identity.ts'
import { startAgentNode, startCoordinatorNode } from '../../protocol/mesh/node.ts'
import { decodeTicket, encodeTicket, type Ticket } from '../../protocol/mesh/ticket.ts'
import { AGENT_PROTOCOL, ENROL_PROTOCOL } from '../../protocol/messages.ts'
import { eventually } from '../support/eventually.ts'
import { type GuardedMesh, joinBy, startGuardedMesh } from '../support/invitations.ts'
import { newKey, quiet } from '../support/mesh.ts'

const IDENTIFY = '/ipfs/id/1.0.0'
const GOSSIP = '/meshsub/1.2.0'

/** With a libp2p of its own, which says and takes whatever it likes, and the invitation's key. */
const dialAs = async (t: TestContext, { addresses, invitation }: Ticket) => {
  const libp2p = await createLibp2p({
    privateKey: await invitationKey(invitation),
    transports: [tcp()],
    connectionEncrypters: [tls()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  })
  t.after(() => libp2p.stop())
  const asked: string[] = []
  for (const protocol of [IDENTIFY, GOSSIP, '/ipfs/ping/1.0.0']) {
    await libp2p.handle(protocol, () => void asked.push(protocol))
  }
  const target = addresses.map((text) => multiaddr(text))
  return { libp2p, asked, dial: () => libp2p.dial(target, { force: true }) }
}

test('an invitation’s connection may do nothing but enrol', async (t) => {
  const { node, invite, lines, membership } = await startGuardedMesh(t)
  const { ticket, id } = await invite()
  const offered = node.libp2p.getProtocols().filter((protocol) => protocol !== ENROL_PROTOCOL)
  assert.ok(offered.includes(IDENTIFY) && offered.includes(GOSSIP), `${offered}`)
  const { asked, dial } = await dialAs(t, ticket)
  for (const protocol of [...offered, AGENT_PROTOCOL, '/ipfs/ping/1.0.0', '/ipfs/id/push/1.0.0']) {
    const connection = await dial()
    let received = 0
    try {
      const stream = await connection.newStream(protocol)
      stream.addEventListener('message', ({ data }) => {
        received += data.byteLength
      })
      stream.send(new Uint8Array([4, 10, 2, 8, 1]))
      await eventually(() => stream.status !== 'open')
    } catch {
      // Refused before it was a stream.
    }
    assert.equal(received, 0, protocol)
    await connection.close()
  }
  assert.deepEqual(node.libp2p.services.gossip.getPeers(), [])
  assert.deepEqual(asked, [], 'the coordinator asks an invitation nothing')
  const misused = lines.filter(({ msg }) => msg === 'an invitation may only enrol')
  assert.equal(misused[0]?.peer, id)
  assert.deepEqual(membership.members(), [])
  await joinBy(ticket)
  assert.equal(membership.members().length, 1)
})

test('an idle connection of an invitation ends', async (t) => {
  const { node, invite, lines } = await startGuardedMesh(t, { connectionMs: 100 })
  const { ticket, id } = await invite()
  const { dial } = await dialAs(t, ticket)
  const connection = await dial()
  const stream = await connection.newStream(ENROL_PROTOCOL)
  await eventually(() => connection.status !== 'open' && stream.status !== 'open')
  assert.deepEqual(node.libp2p.getConnections(), [])
  await dial()
  await eventually(() => lines.some(({ msg }) => msg === 'an invitation left, nobody enrolled'))
  assert.equal(lines.at(-1)?.invitation, id)
})

/**
 * All forty ends of the handshakes are in this process, and a dial waits for one for seconds at most:
 * on a slow machine some come again, as hosts do, and not together.
 */
const joinPatiently = async (ticket: Ticket): Promise<unknown> => {
  const key = await newKey()
  return eventually(async () => {
    try {
      return await enrol({ ticket, key, log: quiet })
    } catch (error) {
      if (!(error instanceof HyperError && error.code === 'UNREACHABLE')) throw error
      await pause(Math.random() * limits.handshakeMs)
      return undefined
    }
  }, 60_000)
}

for (const uses of [20, 19]) {
  test(`of 20 that come at once with one ticket for ${uses}, ${uses} join`, async (t) => {
    const { invite, membership, lines } = await startGuardedMesh(t)
    const { ticket } = await invite(uses)
    const ends = await Promise.allSettled(Array.from({ length: 20 }, () => joinPatiently(ticket)))
    const refused = ends.filter((end) => end.status === 'rejected')
    assert.deepEqual(
      refused.map(({ reason }) => reason.code),
      Array.from({ length: 20 - uses }, () => 'TICKET_SPENT'),
    )
    assert.equal(membership.members().length, uses)
    assert.equal(lines.filter(({ msg }) => msg === 'enrolled').length, uses)
  })
}

interface Refusal {
  readonly code: ErrorCode
  readonly exit: number
  readonly message: RegExp
  /** Makes the ticket what it is; the text that is then given to the new host. */
  readonly given: (t: TestContext, mesh: GuardedMesh, ticket: Ticket) => Promise<string>
  /** What the coordinator logs of the invitation; null where it cannot know who came. */
  readonly logged: ErrorCode | null
}

const asText = async (ticket: Ticket): Promise<string> => encodeTicket(ticket)
const AN_HOUR = 3_600_000

const REFUSALS: Readonly<Record<string, Refusal>> = {
  'damaged ticket': {
    ...{ code: 'TICKET_DAMAGED', exit: 2, message: /damaged or cut off/, logged: null },
    given: async (_t, _mesh, ticket) => encodeTicket(ticket).slice(0, -1),
  },
  'spent ticket': {
    ...{ code: 'TICKET_SPENT', exit: 4, message: /is spent/, logged: 'TICKET_SPENT' },
    async given(_t, _mesh, ticket) {
      await joinBy(ticket)
      return asText(ticket)
    },
  },
  'expired ticket': {
    ...{ code: 'TICKET_EXPIRED', exit: 6, message: /has expired/, logged: 'TICKET_EXPIRED' },
    async given(_t, mesh, ticket) {
      mesh.pass(AN_HOUR)
      mesh.membership.expire()
      return asText({ ...ticket, expires: Date.now() - AN_HOUR })
    },
  },
  'ticket that holds by this host’s clock alone': {
    ...{ code: 'TICKET_SPENT', exit: 4, message: /holds until/, logged: 'TICKET_EXPIRED' },
    async given(_t, mesh, ticket) {
      mesh.pass(AN_HOUR)
      return asText(ticket)
    },
  },
  'ticket that the coordinator never made': {
    ...{ code: 'TICKET_SPENT', exit: 4, message: /not known/, logged: 'NOT_A_MEMBER' },
    given: async (_t, _mesh, ticket) =>
      asText({ ...ticket, invitation: (await createInvitation()).key }),
  },
  'ticket of another coordinator': {
    ...{ code: 'WRONG_COORDINATOR', exit: 7, message: /another coordinator than/, logged: null },
    given: async (_t, _mesh, ticket) =>
      asText({ ...ticket, coordinator: (await createInvitation()).peerId }),
  },
  'coordinator that does not answer': {
    ...{ code: 'UNREACHABLE', exit: 5, message: /cannot be reached at \/ip4/, logged: null },
    async given(_t, mesh, ticket) {
      await mesh.node.stop()
      return asText(ticket)
    },
  },
  'ticket of a later version': {
    ...{ code: 'VERSION_MISMATCH', exit: 9, message: /does not speak/, logged: null },
    async given(t, _mesh, ticket) {
      const other = await startCoordinatorNode({
        ...{ key: await newKey(), listen: ['/ip4/127.0.0.1/tcp/0'], announce: [] },
        ...{ isMember: () => false, isInvitation: () => true, log: quiet },
      })
      t.after(() => other.stop())
      const { peerId: coordinator, addresses } = other
      return asText({ ...ticket, coordinator, addresses: addresses() })
    },
  },
}

for (const [what, { code, exit, message, given, logged }] of Object.entries(REFUSALS)) {
  test(`a ${what} is told as ${code} with exit code ${exit}`, async (t) => {
    const mesh = await startGuardedMesh(t)
    const { ticket } = await mesh.invite()
    const text = await given(t, mesh, ticket)
    const members = mesh.membership.members().length
    assert.equal(ERRORS[code].exit, exit)
    const join = async (): Promise<unknown> => joinBy(decodeTicket(text))
    await assert.rejects(join, (error: { code: ErrorCode; message: string }) => {
      assert.deepEqual([error.code, message.test(error.message)], [code, true], error.message)
      return true
    })
    assert.equal(mesh.membership.members().length, members)
    const told = mesh.lines.filter(({ msg }) => msg === 'connection refused')
    assert.equal(told[0]?.code ?? null, logged)
    if (logged !== null) assert.match(told[0]?.peer ?? '', /^12D3/)
  })
}

test('a dead invitation gets no further than the handshake', async (t) => {
  const { node, invite, pass } = await startGuardedMesh(t)
  const { ticket } = await invite()
  pass(AN_HOUR)
  const opened: string[] = []
  node.libp2p.addEventListener('connection:open', () => opened.push('connection'))
  const { dial } = await dialAs(t, ticket)
  for (const protocol of [ENROL_PROTOCOL, IDENTIFY]) {
    await assert.rejects(async () => (await dial()).newStream(protocol))
  }
  assert.deepEqual(opened, [])
})

test('a removed member is told as no member, at both ends', async (t) => {
  const { node, membership, invite, lines } = await startGuardedMesh(t)
  const { ticket } = await invite()
  const { name } = await joinBy(ticket)
  await membership.remove(name, 'revoked')
  const agent = await startAgentNode({
    ...{ key: await newKey(), coordinator: node.peerId, addresses: node.addresses(), log: quiet },
  })
  t.after(() => agent.stop())
  await assert.rejects(openAgentChannel(agent), { code: 'NOT_A_MEMBER' })
  assert.equal(lines.find(({ msg }) => msg === 'connection refused')?.code, 'NOT_A_MEMBER')
})
