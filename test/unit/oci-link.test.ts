/** Addresses of containers beside the engine's, and which resolvers they are told. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  addressOf,
  engineRangeOf,
  hasPorts,
  linkWordsOf,
  ownRangeOf,
} from '../../agent/runner/oci/link.ts'
import { resolverOf } from '../../agent/runner/oci/resolver.ts'

test('the engine has the lower half of the addresses, we the upper one', () => {
  assert.equal(engineRangeOf('172.18.0.0/16'), '172.18.0.0/17')
  const range = ownRangeOf('172.18.0.0/16')
  assert.ok(range !== null)
  assert.equal(addressOf(range.first), '172.18.128.0')
  assert.equal(addressOf(range.first + range.count - 1), '172.18.255.254')
  assert.equal(range.prefix, 16)
})

test('a network that is too small to be shared, or is none, is not', () => {
  for (const subnet of ['172.18.0.0/25', 'fd00::/64', '']) {
    assert.equal(engineRangeOf(subnet), null, subnet)
    assert.equal(ownRangeOf(subnet), null, subnet)
  }
})

test('a keeper is told where the bridge is, what is ours of it, and where to begin', () => {
  const range = ownRangeOf('10.0.0.0/24')
  assert.ok(range !== null)
  const place = { namespace: '/proc/self/ns/net', bridge: 'hyper-0123abcd', gateway: '10.0.0.1' }
  const words = linkWordsOf({ ...place, range })
  const first = (10 << 24) + 128
  assert.deepEqual(words.slice(0, -1), [...Object.values(place), `${first}`, '127', '24'])
  const number = Number(words.at(-1))
  assert.ok(Number.isInteger(number) && number >= 0 && number < 127)
})

test('a bridge is in use by the ports that keepers have made, and by no other’s', () => {
  const interfaces = '  eth0: 1 2\nhyp0abc-7f: 3 4\nhyper-00000abc: 5 6\n'
  assert.equal(hasPorts(interfaces, 'hyper-12340abc'), true)
  assert.equal(hasPorts(interfaces, 'hyper-12340abd'), false)
  assert.equal(hasPorts('  eth0: 1 2\nhyper-00000abc: 5 6\n', 'hyper-00000abc'), false)
})

test('resolvers that only the host reaches are left out, and there is always one', () => {
  const host = 'search example.com\nnameserver 127.0.0.53\nnameserver 192.0.2.1\n'
  assert.equal(resolverOf([host]), 'search example.com\nnameserver 192.0.2.1\n')
  const behind = 'nameserver 192.0.2.9\n'
  assert.equal(resolverOf(['nameserver 127.0.0.53\n', behind]), behind)
  assert.match(resolverOf(['nameserver ::1\n', '']), /^nameserver \d/)
})

test('resolvers with an address of IPv6 are left out', () => {
  const both = 'nameserver 2001:db8::1\n nameserver fe80::1%eth0\nnameserver 192.0.2.1\n'
  assert.equal(resolverOf([both]), 'nameserver 192.0.2.1\n')
  assert.equal(resolverOf(['nameserver 2001:db8::1\n', both]), 'nameserver 192.0.2.1\n')
  assert.match(resolverOf(['nameserver 2001:db8::1\noptions edns0\n']), /^nameserver 8\./)
})
