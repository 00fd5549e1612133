/** The network of functions that ask for one: what they reach, and what becomes of it. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { ImagePin } from '../../protocol/image.ts'
import type { Assignment } from '../../protocol/messages.ts'
import { type AgentBench, createAgentBench } from '../support/agent-bench.ts'
import { connectDocker, type DockerClient } from '../support/docker.ts'
import { type EngineNetwork, openEngineNetwork } from '../support/engine-network.ts'
import { startEngineProxy } from '../support/engine-proxy.ts'
import { eventually } from '../support/eventually.ts'

const WAIT_MS = 30_000
const WEB = '203.0.113.7'
const METADATA = ['169.254.169.254', '100.100.100.200', '168.63.129.16']

let client: DockerClient
let network: EngineNetwork
let bench: AgentBench
let ubuntu: ImagePin

before(async () => {
  const socketPath = process.env.HYPER_TEST_DOCKER_SOCKET ?? ''
  client = connectDocker(socketPath)
  network = await openEngineNetwork(socketPath)
  await network.serve(8088)
  await network.serve(53)
  await network.addMachine([WEB, ...METADATA])
  bench = await createAgentBench({ firewall: network.firewall })
  await bench.open()
  await bench.connect()
  ubuntu = await bench.pin('ubuntu')
})
after(async () => {
  await bench.close()
  await network.close()
  client.close()
})

const call = (script: string): Partial<Assignment> & { image: ImagePin } => ({
  image: ubuntu,
  network: 'bridge',
  cmd: ['sh', '-c', script],
})

/** Others may run beside it. */
const say = async (script: string): Promise<string> => {
  const key = bench.assign(call(script))
  const result = await bench.result(key)
  bench.acknowledge(key)
  assert.equal(result.code, 'FINISHED', result.message)
  return Buffer.from(result.stdout).toString().trim()
}

const get = (address: string): string =>
  `timeout 3 wget -q -O - http://${address}/ 2>/dev/null || echo no`

const GATEWAY = "$(ip route | awk '/^default/ { print $3 }')"

const ours = async () => {
  const rows = await client.docker.listNetworks({ filters: JSON.stringify({ name: ['hyper'] }) })
  return rows.filter((row) => row.Name === 'hyper')
}

const rules = async (): Promise<string> =>
  (await network.run('iptables', '-S'))
    .split('\n')
    .filter((line) => line.includes('HYPER-'))
    .join('\n')

test('the world is reached, addresses of metadata are not', async () => {
  const said = await say([WEB, ...METADATA].map(get).join('\n'))
  assert.deepEqual(said.split('\n'), ['yes', 'no', 'no', 'no'])
})

test('ports of the host are not reached, by none of its addresses; its resolver is', async () => {
  const of = (port: number): string =>
    [GATEWAY, '198.51.100.1'].map((at) => get(`${at}:${port}`)).join('\n')
  assert.deepEqual((await say(of(8088))).split('\n'), ['no', 'no'])
  assert.deepEqual((await say(of(53))).split('\n'), ['yes', 'yes'])
})

test('a container has no address but the one that rules are for', async () => {
  const said = await say(
    'cat /proc/net/if_inet6 | grep -v " lo$"; ip -o -4 address show dev eth0 | wc -l',
  )
  assert.equal(said, '1')
})

const OCI_ONLY =
  process.env.HYPER_TEST_RUNNER === 'oci'
    ? false
    : 'the engine keeps to what its network was made with'

test('packets are as large as the bridge takes', { skip: OCI_ONLY }, async () => {
  const [found] = await ours()
  const bridge = `${found?.Options?.['com.docker.network.bridge.name']}`
  await network.run('ip', 'link', 'set', bridge, 'mtu', '1400')
  assert.equal(await say('cat /sys/class/net/eth0/mtu'), '1400')
  await network.run('ip', 'link', 'set', bridge, 'mtu', '1500')
  assert.equal(await say('cat /sys/class/net/eth0/mtu'), '1500')
})

test('without the rules the same is reached: it is they that keep it away', async () => {
  const [, chain = ''] = /^-N (\S+)/m.exec(await rules()) ?? []
  await network.run('iptables', '-F', chain)
  const said = await say([METADATA[0] ?? '', `${GATEWAY}:8088`].map(get).join('\n'))
  assert.deepEqual(said.split('\n'), ['yes', 'yes'])
})

test('a new start finds the network, and sets rules again that somebody took away', async () => {
  const [before] = await ours()
  const key = bench.assign(call('cat /dev/zero > /dev/null & exec sleep 60'))
  await bench.message('started', key)
  await network.run('iptables', '-F', 'INPUT')
  await bench.abandon()
  await bench.open()
  await bench.connect([{ key, verdict: 'cancel' }])
  await bench.quiet()
  // The agent is there before its rules are; a call with a network waits for them.
  assert.deepEqual((await say(get(`${GATEWAY}:8088`))).split('\n'), ['no'])
  assert.equal((await ours())[0]?.Id, before?.Id)
  const once = await rules()
  for (const from of ['INPUT', 'DOCKER-USER']) {
    assert.equal(once.match(new RegExp(`^-A ${from} -i`, 'gm'))?.length, 1, once)
  }
})

test('an engine that answers again has its rules set again', async () => {
  const proxy = await startEngineProxy(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  const { dockerHost } = proxy
  const far = await createAgentBench({ dockerHost, firewall: network.firewall })
  try {
    await far.open()
    proxy.cut()
    far.premises().engine.suspect()
    await eventually(() => !far.premises().engine.isUp())
    await network.run('iptables', '-F', 'INPUT')
    proxy.restore()
    await eventually(async () => /^-A INPUT .*-j HYPER-/m.test(await rules()), WAIT_MS)
  } finally {
    await far.close()
    await proxy.close()
  }
})

test('containers do not reach each other, on no port', async () => {
  const serving = (port: number): string =>
    `echo yes > /tmp/index.html; httpd -p ${port} -h /tmp; hostname -i >&2; exec sleep 60`
  for (const port of [80, 53]) {
    const key = bench.assign(call(serving(port)))
    await bench.message('started', key)
    const address = await eventually(async () => {
      const [id = ''] = await bench.containers()
      return bench.outside.addressOf(id)
    })
    assert.equal(
      await network.run('busybox', 'wget', '-q', '-O', '-', `http://${address}:${port}/`),
      'yes\n',
    )
    assert.equal(await say(get(`${address}:${port}`)), 'no')
    bench.cancel(key)
    await bench.quiet()
  }
})

test('a network that somebody removed is made again, with its rules', async () => {
  await bench.quiet()
  const [before] = await ours()
  await client.docker.getNetwork(before?.Id ?? '').remove()
  const said = await Promise.all([1, 2, 3, 4].map(() => say(get(METADATA[0] ?? ''))))
  assert.deepEqual(said, ['no', 'no', 'no', 'no'])
  assert.deepEqual([(await ours()).length, (await ours())[0]?.Id === before?.Id], [1, false])
})

/** Has the agent make its network anew until its id, which is random, leaves room below and above. */
const firstInTheMiddle = async (): Promise<void> => {
  for (;;) {
    const [first] = await ours()
    if (first !== undefined && /^[4-9ab]/.test(first.Id)) return
    await bench.quiet()
    if (first !== undefined) await client.docker.getNetwork(first.Id).remove()
    await say('true')
  }
}

/** One more of ours beside the one that is there, with an id below or above its. */
const second = async (order: 'lower' | 'higher'): Promise<string> => {
  const [first] = await ours()
  assert.ok(first !== undefined)
  const { Name, Driver, Labels, Options } = first
  const present = `${Options?.['com.docker.network.bridge.name'] ?? ''}`
  const bridge = present.slice(0, -2) + (present.endsWith('ff') ? 'ee' : 'ff')
  for (;;) {
    const made = await client.docker.createNetwork({
      ...{ Name, Driver, CheckDuplicate: false },
      Labels: Labels ?? {},
      Options: { ...Options, 'com.docker.network.bridge.name': bridge },
    })
    if (made.id < first.Id === (order === 'lower')) return made.id
    await made.remove()
  }
}

/** The OCI runner needs the bridge and no name: two are nothing to it. */
const untilOne = async (spare: string): Promise<void> => {
  if (process.env.HYPER_TEST_RUNNER === 'oci') await client.docker.getNetwork(spare).remove()
  await eventually(async () => (await ours()).length === 1, WAIT_MS)
}

for (const order of ['lower', 'higher'] as const) {
  test(`of two networks, which agents made at one moment, one goes, and calls run (${order})`, async () => {
    await firstInTheMiddle()
    const spare = await second(order)
    assert.equal(await say('echo hello'), 'hello')
    await untilOne(spare)
  })

  test(`of two networks the one that is in use stays (${order})`, async () => {
    await firstInTheMiddle()
    const [first] = await ours()
    const key = bench.assign(call('exec sleep 60'))
    await bench.message('started', key)
    const spare = await second(order)
    assert.equal(await say('echo hello'), 'hello')
    await untilOne(spare)
    assert.equal((await ours())[0]?.Id, first?.Id)
    bench.cancel(key)
    await bench.quiet()
  })
}

test('two agents share one network, and it survives the stop of one that it is in use by', async () => {
  const other = await createAgentBench({ firewall: network.firewall })
  await other.open()
  await other.connect()
  try {
    assert.equal((await ours()).length, 1)
    const key = bench.assign(call('exec sleep 60'))
    await bench.message('started', key)
    await other.abandon()
    assert.equal((await ours()).length, 1)
    assert.match(await rules(), /-j HYPER-/)
    bench.cancel(key)
    await bench.quiet()
  } finally {
    await other.close()
  }
  // It was not in use at that stop; the agent that is left makes itself another one.
  assert.equal(await say(get(METADATA[0] ?? '')), 'no')
})

test('a clean stop leaves neither network nor rules', async () => {
  await bench.quiet()
  await bench.abandon()
  assert.deepEqual(await ours(), [])
  assert.equal(await rules(), '')
  await bench.open()
  await bench.connect()
})

test('a network of that name that is not ours is named, and never touched', async () => {
  await bench.quiet()
  await bench.abandon()
  const foreign = await client.docker.createNetwork({ Name: 'hyper', Labels: { mine: 'yes' } })
  try {
    await bench.open()
    await bench.connect()
    const refused = await bench.run(call('true'))
    assert.deepEqual([refused.code, refused.started], ['START_FAILED', false])
    assert.match(
      refused.message,
      /network "hyper" that is not Hyper Func’s.*docker network rm hyper/,
    )
    assert.equal((await bench.run({ ...call('true'), network: 'none' })).code, 'FINISHED')
    await bench.abandon()
    assert.equal((await ours())[0]?.Id, foreign.id)
  } finally {
    await foreign.remove()
  }
  await bench.open()
  await bench.connect()
  assert.equal(await say('echo fine'), 'fine')
})

test('an agent that may not set rules says so once, and why', async () => {
  const lines: string[] = []
  const outside = await createAgentBench({ onLog: (line) => lines.push(line) })
  await outside.open()
  await outside.close()
  const warnings = lines.filter((line) => line.includes('can reach this host’s ports'))
  assert.equal(warnings.length, 1)
  assert.match(warnings[0] ?? '', /the engine’s network is not this host’s/)
})
