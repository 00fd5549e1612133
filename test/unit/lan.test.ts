/** What is said on a LAN by those who look for a coordinator, and what is believed of it. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decode, encode, type Packet } from 'dns-packet'
import { answerOf, asksFor, lanNameOf, portToldFor } from '../../protocol/mesh/lan.ts'
import { isOn, networksIn } from '../../protocol/mesh/lan-sockets.ts'
import { mayBeElsewhere, mergeAddresses } from '../../protocol/mesh/whereabouts.ts'
import { idOf, newKey } from '../support/mesh.ts'

const question = (name: string, type: 'SRV' | 'PTR' = 'SRV'): Packet => ({
  type: 'query',
  questions: [{ type, name }],
})

test('a coordinator is asked for by its name, and answers to no other', async () => {
  const [mine, others] = [lanNameOf(idOf(await newKey())), lanNameOf(idOf(await newKey()))]
  assert.match(mine, /^[a-z0-9]{1,63}\._hyper-func\._udp\.local$/)
  assert.ok(asksFor(decode(encode(question(mine))), mine))
  assert.ok(asksFor(question(mine.toUpperCase()), mine), 'names of DNS have no case')
  assert.ok(!asksFor(question(others), mine))
  assert.ok(!asksFor(question('_hyper-func._udp.local', 'PTR'), mine))
  assert.ok(!asksFor(answerOf(mine, 1), mine))
})

test('an answer tells a port; of what else comes, nothing is believed', async () => {
  const [mine, others] = [lanNameOf(idOf(await newKey())), lanNameOf(idOf(await newKey()))]
  assert.equal(portToldFor(decode(encode(answerOf(mine, 7481))), mine), 7481)
  assert.equal(portToldFor(decode(encode(answerOf(mine, 0))), mine), null)
  assert.equal(portToldFor(answerOf(others, 7481), mine), null)
  assert.equal(portToldFor({ ...answerOf(mine, 7481), type: 'query' }, mine), null)
  assert.equal(portToldFor({ type: 'response' }, mine), null)
  const text: Packet = { type: 'response', answers: [{ type: 'TXT', name: mine, data: '7481' }] }
  assert.equal(portToldFor(text, mine), null)
})

test('the networks of a host are those of its IPv4 addresses, but loopback', () => {
  const info = { netmask: '', mac: '', scopeid: 0 }
  const networks = networksIn({
    lo: [{ ...info, family: 'IPv4', address: '127.0.0.1', cidr: '127.0.0.1/8', internal: true }],
    eth0: [
      { ...info, family: 'IPv4', address: '10.1.2.3', cidr: '10.1.2.3/20', internal: false },
      { ...info, family: 'IPv6', address: 'fd00::1', cidr: 'fd00::1/64', internal: false },
    ],
    none: undefined,
  })
  assert.deepEqual(networks, [{ address: '10.1.2.3', prefix: 20 }])
  const [network] = networks
  assert.ok(network !== undefined)
  assert.ok(isOn(network, '10.1.15.255'))
  assert.ok(!isOn(network, '10.1.16.0'))
})

test('the LAN is asked for what may be on another host', () => {
  assert.ok(mayBeElsewhere([]))
  assert.ok(mayBeElsewhere(['/ip4/127.0.0.1/tcp/1', '/ip4/192.0.2.1/tcp/1']))
  assert.ok(!mayBeElsewhere(['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1']))
})

test('addresses are kept once, in order, and not without end', () => {
  assert.deepEqual(mergeAddresses(['b'], ['a', 'b'], ['c']), ['b', 'a', 'c'])
  const many = Array.from({ length: 1000 }, (_, at) => `/ip4/192.0.2.1/tcp/${at}`)
  assert.deepEqual(mergeAddresses(many), many.slice(0, 64))
})
