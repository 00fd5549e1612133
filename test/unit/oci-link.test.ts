/** Addresses of containers beside the engine's, and which resolvers they are told. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FirewallHost } from '../../agent/firewall.ts'
import { addressOf, connect, engineRangeOf, ownRangeOf } from '../../agent/runner/oci/link.ts'
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

test('an address that is taken is left for another one, whatever else fails is told', async () => {
  const range = ownRangeOf('10.0.0.0/24')
  assert.ok(range !== null)
  const link = { bridge: 'hyper-0123abcd', gateway: '10.0.0.1', range }
  const inputs: string[] = []
  const hostOf = (outputs: readonly string[]): FirewallHost => {
    const left = [...outputs]
    return {
      interfaces: async () => '',
      run: async (_program, _args, input) => {
        inputs.push(input)
        const output = left.shift() ?? ''
        return { status: output === '' ? 0 : 1, output }
      },
    }
  }
  const address = await connect(hostOf(['RTNETLINK answers: File exists']), link, 42)
  const [first = '', second = '', inside = ''] = inputs
  assert.equal(inputs.length, 3)
  assert.notEqual(first, second)
  assert.match(second, /netns 42\n.* master hyper-0123abcd\n/)
  assert.match(inside, new RegExp(`address add ${address}/24`))
  const names = [...inputs.join('').matchAll(/link add (\S+)/g)].map(([, name = '']) => name)
  assert.ok(
    names.every((name) => name.length <= 15),
    names.join(),
  )
  await assert.rejects(connect(hostOf(['Cannot find device "x"']), link, 42), /Cannot find device/)
})

test('resolvers that only the host reaches are left out, and there is always one', () => {
  const host = 'search example.com\nnameserver 127.0.0.53\nnameserver 192.0.2.1\n'
  assert.equal(resolverOf([host]), 'search example.com\nnameserver 192.0.2.1\n')
  const behind = 'nameserver 192.0.2.9\n'
  assert.equal(resolverOf(['nameserver 127.0.0.53\n', behind]), behind)
  assert.match(resolverOf(['nameserver ::1\n', '']), /^nameserver \d/)
})
