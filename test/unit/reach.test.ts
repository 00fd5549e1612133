/** Which addresses of a coordinator are told to other hosts. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Interfaces, reachableAddresses } from '../../protocol/mesh/reach.ts'

const at = (ip: string): string => `/${ip.includes(':') ? 'ip6' : 'ip4'}/${ip}/tcp/7481`

/** As a host that listens on all its interfaces has them, in the order of the interfaces. */
const told = (interfaces: Readonly<Record<string, readonly string[]>>): readonly string[] => {
  const host: Interfaces = Object.fromEntries(
    Object.entries(interfaces).map(([name, ips]) => [name, ips.map((address) => ({ address }))]),
  )
  return reachableAddresses(Object.values(interfaces).flat().map(at), host)
}

const LOOPBACK = { lo: ['127.0.0.1', '::1'] }

test('public addresses come first, then private ones, and no others', () => {
  const interfaces = {
    ...LOOPBACK,
    docker0: ['172.17.0.1'],
    'br-0123456789ab': ['172.18.0.1', 'fd00:1::1'],
    'hyper-0a1b2c3d': ['172.19.0.1'],
    virbr0: ['192.168.122.1'],
    veth12: ['169.254.7.7'],
    eth0: ['192.168.1.5', 'fe80::5', 'fd00::5', '2001:4860::5'],
    eth1: ['8.8.4.4'],
    tailscale0: ['100.64.0.5'],
  }
  const ips = ['8.8.4.4', '2001:4860::5', '192.168.1.5', '100.64.0.5', 'fd00::5']
  assert.deepEqual(told(interfaces), ips.map(at))
})

test('a bridge with a name of its owner’s is a card like others', () => {
  assert.deepEqual(told({ ...LOOPBACK, br0: ['10.0.0.5'] }), [at('10.0.0.5')])
  assert.deepEqual(told({ ...LOOPBACK, 'br-lan': ['10.0.0.5'] }), [at('10.0.0.5')])
})

test('a host without a network is found by itself and its own virtual networks', () => {
  const interfaces = { ...LOOPBACK, docker0: ['172.17.0.1', 'fe80::1'], eth0: ['169.254.3.4'] }
  const ips = ['172.17.0.1', '169.254.3.4', '127.0.0.1', '::1']
  assert.deepEqual(told(interfaces), ips.map(at))
})

test('one that listens on loopback alone is found there', () => {
  const interfaces = { eth0: [{ address: '192.168.1.5' }], lo: [{ address: '127.0.0.1' }] }
  assert.deepEqual(reachableAddresses([at('127.0.0.1')], interfaces), [at('127.0.0.1')])
})

test('an address that no interface has any more, and a name, are told as they are', () => {
  const listening = [at('10.9.9.9'), '/dns4/host.example/tcp/7481']
  assert.deepEqual(new Set(reachableAddresses(listening, {})), new Set(listening))
})
