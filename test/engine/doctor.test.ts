/** What `hyper doctor` finds on a real engine, from its own host and from another network. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { examine } from '../../agent/examination.ts'
import { type FirewallHost, thisHost } from '../../agent/firewall.ts'
import { connectDocker, type DockerClient } from '../support/docker.ts'
import { type EngineNetwork, openEngineNetwork } from '../support/engine-network.ts'

let client: DockerClient
let network: EngineNetwork

before(async () => {
  const socketPath = process.env.HYPER_TEST_DOCKER_SOCKET ?? ''
  client = connectDocker(socketPath)
  network = await openEngineNetwork(socketPath)
})
after(async () => {
  await network.close()
  client.close()
})

const look = (host: FirewallHost) =>
  examine(
    {
      home: process.env.HYPER_HOME ?? '',
      initDir: process.env.HYPER_TEST_INIT_DIR ?? '',
      dockerHost: process.env.HYPER_TEST_DOCKER_HOST ?? '',
      logFormat: 'json',
    },
    host,
  )

test('on the engine’s own host nothing is wrong, and nothing is changed by looking', async () => {
  const before = await network.run('iptables', '-S')
  const found = await look(network.firewall)
  assert.deepEqual(
    found.map(({ check, state }) => `${check} ${state}`),
    ['engine', 'runtimes', 'runner', 'firewall', 'hyper-init', 'state disk', 'engine disk'].map(
      (check) => `${check} good`,
    ),
    JSON.stringify(found),
  )
  assert.equal(await network.run('iptables', '-S'), before)
})

test('who starts the containers is told, and why', async () => {
  const runner = (await look(network.firewall)).find(({ check }) => check === 'runner')
  const isRoot = process.getuid?.() === 0
  assert.match(runner?.message ?? '', isRoot ? /\/runc itself$/ : /the agent is not root/)
})

test('where rules cannot be set, that and why is a warning', async () => {
  // This host may have an engine of its own, whose bridge has the same usual name.
  const elsewhere = async (): Promise<string> =>
    (await thisHost.interfaces()).replace(/^ *docker0:.*$/m, '')
  const reasons: readonly (readonly [FirewallHost, RegExp])[] = [
    [{ ...thisHost, interfaces: elsewhere }, /not this host’s/],
    [{ ...network.firewall, run: () => Promise.reject(new Error('ENOENT')) }, /install iptables/],
    [
      {
        ...network.firewall,
        run: async () => ({ status: 4, output: 'Permission denied (you must be root)' }),
      },
      /ended with 4: Permission denied/,
    ],
  ]
  for (const [host, says] of reasons) {
    const firewall = (await look(host)).find(({ check }) => check === 'firewall')
    assert.equal(firewall?.state, 'warning')
    assert.match(firewall.message, says)
  }
})

test('a network that is not ours is told', async () => {
  const foreign = await client.docker.createNetwork({ Name: 'hyper' })
  try {
    const found = (await look(network.firewall)).find(({ check }) => check === 'network')
    assert.equal(found?.state, 'bad')
    assert.match(found.next, /docker network rm hyper/)
  } finally {
    await foreign.remove()
  }
})
