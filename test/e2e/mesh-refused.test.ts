/**
 * Hosts that are not let in, or not any more: what `hyper join` and `hyper agent` say at last, and their
 * exit codes, as a script on that host sees them. And the one way in that needs no address.
 */

import assert from 'node:assert/strict'
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { limits } from '../../protocol/limits.ts'
import { createInvitation } from '../../protocol/mesh/identity.ts'
import { startCoordinatorNode } from '../../protocol/mesh/node.ts'
import { decodeTicket, encodeTicket, type Ticket } from '../../protocol/mesh/ticket.ts'
import { eventually } from '../support/eventually.ts'
import { type HostMesh, openHostMesh } from '../support/host-mesh.ts'
import type { Host } from '../support/hosts.ts'
import { newKey, quiet } from '../support/mesh.ts'

/** Of the first agent, in its HYPER_HOME. */
const FOLDER = 'agent-1'

let mesh: HostMesh
let host: Host

before(async () => {
  mesh = await openHostMesh()
  host = await mesh.addHost('guest')
})
after(() => mesh.close())

const refused = async (ticket: string, code: number, says: RegExp): Promise<void> => {
  const joining = await mesh.start(host, ['join', ticket])
  assert.equal(await joining.ended, code, joining.output())
  assert.match(joining.output(), says)
}

const changed = async (over: Partial<Ticket>): Promise<string> =>
  encodeTicket({ ...decodeTicket(await mesh.invite()), ...over })

test('a ticket whose time is over: exit code 6', async () => {
  const ticket = await mesh.invite('--expires', '1s')
  await eventually(() => decodeTicket(ticket).expires < Date.now())
  await refused(ticket, 6, /has expired.*hyper invite/s)
})

test('a ticket of another coordinator: exit code 7', async () => {
  const { peerId: coordinator } = await createInvitation()
  await refused(await changed({ coordinator }), 7, /another coordinator/)
})

test('a coordinator that does not answer, there and on the LAN: exit code 5', async () => {
  const { peerId: coordinator } = await createInvitation()
  const addresses = [`/ip4/${host.address}/tcp/7481`]
  const ticket = await changed({ coordinator, addresses })
  await refused(ticket, 5, new RegExp(`${host.address}.*7481`))
})

test('a coordinator that is not where the ticket says, and on the same LAN: it joins', async () => {
  const other = await mesh.addHost('mover')
  const ticket = await changed({ addresses: [`/ip4/${other.address}/tcp/7481`] })
  const joined = await mesh.agent(other, ['--join', ticket, '--ready', '0'])
  assert.equal((await mesh.row(joined))?.state, 'alive')
  assert.equal(await joined.stop(), 0)
})

test('a coordinator of another version: exit code 9', async (t) => {
  const network = host.address.replace(/\.\d+$/, '')
  const node = await startCoordinatorNode({
    ...{ key: await newKey(), listen: [`/ip4/${network}.1/tcp/0`], announce: [] },
    ...{ isMember: () => false, isInvitation: () => true, log: quiet },
  })
  t.after(() => node.stop())
  const { peerId: coordinator } = node
  await refused(await changed({ coordinator, addresses: node.addresses() }), 9, /does not speak/)
})

test('an agent whose folder was copied to another host: the later goes on, the former ends with exit code 8', async () => {
  const former = await mesh.agent(host, ['--join', await mesh.invite(), '--ready', '0'])
  const copy = await mesh.addHost('copy')
  await mkdir(join(copy.home, FOLDER), { recursive: true })
  for (const name of ['identity', 'membership.json']) {
    await copyFile(join(host.home, FOLDER, name), join(copy.home, FOLDER, name))
  }
  const later = await mesh.agent(copy, ['--ready', '0'])
  assert.equal(later.peerId, former.peerId)
  assert.equal(await former.ended, 8, former.output())
  assert.match(former.output(), /another agent runs with the key.*hyper|One key is for one agent/s)
  assert.equal((await mesh.row(later))?.state, 'alive')
  assert.equal(await later.stop(), 0)
})

test('a ticket without an address: the coordinator is found on the LAN', async () => {
  const ticket = await mesh.invite('--lan')
  assert.deepEqual(decodeTicket(ticket).addresses, [])
  assert.ok(ticket.length <= limits.ticketCharsMax)
  const other = await mesh.addHost('neighbour')
  const joined = await mesh.agent(other, ['--join', ticket, '--ready', '0'])
  assert.equal((await mesh.row(joined))?.state, 'alive')
  assert.equal(await joined.stop(), 0)
})
