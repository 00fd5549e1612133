/** `hyper doctor` as a process, on engines that are played, with and without a coordinator. */

import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createIdentity } from '../../protocol/mesh/identity.ts'
import { VERSION } from '../../protocol/version.ts'
import { runHyper } from '../support/deployment.ts'
import { startFakeEngine } from '../support/fake-engine.ts'
import { STUB_INFO, sendError, sendJson, startGatewayStub } from '../support/gateway-stub.ts'
import { idOf, startMesh } from '../support/mesh.ts'

interface Found {
  readonly check: string
  readonly state: string
  readonly message: string
  readonly next: string
}

const elfHeadOf = (machine: number): Uint8Array => {
  const head = Buffer.alloc(20)
  head.writeUInt16LE(machine, 18)
  return head
}

const prepare = async (t: TestContext, of: Parameters<typeof startFakeEngine>[0] = {}) => {
  const home = await mkdtemp(join(tmpdir(), 'doctor-'))
  const engine = await startFakeEngine(of)
  t.after(async () => {
    await engine.close()
    await rm(home, { recursive: true, force: true })
  })
  // Nobody runs it: its head alone tells for which kind of machine it is.
  await writeFile(join(home, 'hyper-init'), elfHeadOf(process.arch === 'arm64' ? 183 : 62))
  await chmod(join(home, 'hyper-init'), 0o755)
  const env = {
    ...{ HYPER_INIT_DIR: home, DOCKER_HOST: engine.dockerHost },
    ...{ HYPER_ENDPOINT: '', HYPER_TOKEN: '' },
  }
  const doctor = async (more: NodeJS.ProcessEnv = {}) => {
    const result = await runHyper(['doctor', '--json'], { home, env: { ...env, ...more } })
    const found = JSON.parse(result.stdout.toString()) as readonly Found[]
    const of = (check: string): Found | undefined => found.find((one) => one.check === check)
    return { ...result, found, of }
  }
  return { home, env, engine, doctor }
}

/** A gateway that is played, and a real coordinator's mesh, which may have gone since. */
const startCoordinator = async (
  t: TestContext,
  version: string,
  of: {
    readonly isMeshOpen?: boolean
    readonly operator?: boolean
    readonly agents?: unknown
  } = {},
) => {
  const mesh = await startMesh(t)
  const Hyper = {
    ...STUB_INFO.Hyper,
    ...{ version, peerId: mesh.node.peerId, mesh: mesh.node.addresses() },
    operator: of.operator ?? true,
  }
  if (of.isMeshOpen === false) await mesh.node.stop()
  const stub = await startGatewayStub((asked, response) =>
    sendJson(response, asked.path === '/agents' ? (of.agents ?? []) : { Hyper }),
  )
  t.after(stub.close)
  return { mesh, env: { HYPER_ENDPOINT: stub.endpoint, HYPER_TOKEN: 'secret' } }
}

test('a machine where all is well ends with 0, and says of what it has', async (t) => {
  const { doctor } = await prepare(t)
  const { code, of, found } = await doctor((await startCoordinator(t, VERSION)).env)
  assert.equal(code, 0, JSON.stringify(found))
  assert.match(of('engine')?.message ?? '', /^Docker 20\.10, API 1\.41, linux\/amd64/)
  assert.match(of('coordinator')?.message ?? '', /1 agent connected/)
  assert.match(
    of('mesh')?.message ?? '',
    /is reached from here, and the coordinator proves its key/,
  )
  for (const check of [
    'engine',
    'runtimes',
    'hyper-init',
    'state disk',
    'engine disk',
    'coordinator',
    'mesh',
  ]) {
    assert.equal(of(check)?.state, 'good', check)
  }
})

test('how gVisor is added is told where it is not there, and not where it is', async (t) => {
  const { doctor, engine } = await prepare(t)
  assert.match(
    (await doctor()).of('runtimes')?.next ?? '',
    /daemon\.json.*"--network=none".*SIGHUP/,
  )
  engine.say({ NCPU: 1, Runtimes: { runc: {}, runsc: {} } })
  assert.equal((await doctor()).of('runtimes')?.next, '')
})

test('without an engine it ends with 1, and says how to start one', async (t) => {
  const { doctor } = await prepare(t)
  const { code, of } = await doctor({ DOCKER_HOST: 'unix:///nowhere/docker.sock' })
  assert.equal(code, 1)
  assert.match(of('engine')?.message ?? '', /\/nowhere\/docker\.sock/)
  assert.match(of('engine')?.next ?? '', /systemctl start docker/)
})

test('an engine on another host, one too old and one too new are told apart', async (t) => {
  const { doctor } = await prepare(t)
  const far = await doctor({ DOCKER_HOST: 'tcp://192.0.2.1:2375' })
  assert.deepEqual([far.code, far.of('engine')?.state], [1, 'bad'])
  assert.match(far.of('engine')?.message ?? '', /on another host/)
  const old = await prepare(t, { version: { Version: '19.03', ApiVersion: '1.40' } })
  assert.match((await old.doctor()).of('engine')?.message ?? '', /older than 1\.41/)
  const future = { Version: '40', ApiVersion: '1.90', MinAPIVersion: '1.80' }
  const { of, code } = await (await prepare(t, { version: future })).doctor()
  assert.deepEqual([code, of('engine')?.state], [1, 'bad'])
  assert.match(of('engine')?.message ?? '', /upgrade hyper/)
})

test('Podman is named as untested, and keeps nobody from trying', async (t) => {
  const Components = [{ Name: 'Podman Engine' }]
  const { doctor } = await prepare(t, {
    version: { Version: '4.3.1', ApiVersion: '1.41', Components },
  })
  const { code, of } = await doctor()
  assert.equal(code, 0)
  assert.equal(of('engine')?.state, 'warning')
  assert.match(of('engine')?.message ?? '', /^Podman 4\.3\.1.*untested/)
})

test('a host whose kernel bounds less, and a default runtime without a network, are warned of', async (t) => {
  const { doctor, engine } = await prepare(t)
  engine.say({ NCPU: 1, Runtimes: { runsc: {} }, SwapLimit: false, DefaultRuntime: 'runsc' })
  const { code, of } = await doctor()
  assert.equal(code, 0)
  assert.match(of('limits')?.message ?? '', /does not bound swap/)
  assert.match(of('runtimes')?.message ?? '', /no function has a network/)
})

test('a program that is not built is told with the command that builds it', async (t) => {
  const { doctor } = await prepare(t)
  const { code, of } = await doctor({ HYPER_INIT_DIR: '/nowhere' })
  assert.equal(code, 1)
  assert.match(of('hyper-init')?.next ?? '', /npm run build/)
})

test('no coordinator is a fault only where one is named', async (t) => {
  const { doctor } = await prepare(t)
  const gone = { HYPER_ENDPOINT: 'http://127.0.0.1:9', HYPER_TOKEN: 'x' }
  const { code, of } = await doctor(gone)
  assert.deepEqual([code, of('coordinator')?.state], [1, 'bad'])
  assert.match(of('coordinator')?.next ?? '', /hyper up/)
})

test('another version, a mesh that is not reached and a wrong token are told', async (t) => {
  const { doctor } = await prepare(t)
  const { code, of } = await doctor((await startCoordinator(t, '0.0.9', { isMeshOpen: false })).env)
  assert.deepEqual([code, of('coordinator')?.state, of('mesh')?.state], [1, 'warning', 'bad'])
  assert.match(of('mesh')?.message ?? '', /\/ip4\/127\.0\.0\.1\/tcp\/\d+/)
  const stub = await startGatewayStub((_asked, response) =>
    sendError(response, 401, 'UNAUTHORIZED', 'no such token'),
  )
  t.after(stub.close)
  const refused = await doctor({ HYPER_ENDPOINT: stub.endpoint, HYPER_TOKEN: 'wrong' })
  assert.match(refused.of('coordinator')?.next ?? '', /hyper login/)
})

test('the members that are not heard are told one by one, to the operator alone', async (t) => {
  const { doctor } = await prepare(t)
  const row = (agent: string, state: string, reason: string, member = true) => ({
    ...{ agent, state, reason, member, peerId: `P${agent}`, connected: state === 'alive' },
    ...{ slots: 1, free: 1, running: 0, ready: 0, memoryBytes: 1 },
  })
  const agents = [
    row('one', 'alive', ''),
    row('two', 'alive', ''),
    row('three', 'lost', 'its connection ended'),
    row('four', 'revoked', 'removed', false),
    row('five', 'left', 'in order'),
    row('six', 'alive', 'disk full'),
  ]
  const told = await doctor((await startCoordinator(t, VERSION, { agents })).env)
  const members = told.found.filter(({ check }) => check === 'member')
  assert.deepEqual(
    members.map(({ state, message }) => `${state}: ${message}`),
    [
      'good: 2 alive, 1 left',
      'warning: three is lost: its connection ended',
      'warning: six is alive: disk full',
    ],
  )
  assert.match(members[1]?.next ?? '', /`hyper doctor` there/)
  const other = await doctor((await startCoordinator(t, VERSION, { agents, operator: false })).env)
  assert.equal(other.of('member'), undefined)
})

test('an agent’s host is told how it reaches its coordinator, and whether that lets it in', async (t) => {
  const { home, doctor } = await prepare(t)
  const mesh = await startMesh(t)
  const [address = ''] = mesh.node.addresses()
  const path = join(home, 'agent-1', 'identity')
  const member = idOf(await createIdentity(path))
  mesh.members.add(member)
  const coordinator = mesh.node.peerId
  const join1 = (addresses: readonly string[]): Promise<void> =>
    writeFile(
      join(home, 'agent-1', 'membership.json'),
      JSON.stringify({ coordinator, addresses, name: 'blue' }),
    )
  const look = async () => {
    const { code, found } = await doctor()
    return { code, mesh: found.filter(({ check }) => check === 'mesh') }
  }
  await join1([address, '/ip4/127.0.0.1/tcp/1'])
  const letIn = await look()
  assert.equal(letIn.code, 0)
  assert.deepEqual(
    letIn.mesh.map(({ state }) => state),
    ['good', 'warning'],
  )
  assert.match(letIn.mesh[0]?.message ?? '', /^agent-1 reaches .* lets it in as blue$/)
  assert.match(letIn.mesh[1]?.message ?? '', /nothing answers at .*tcp\/1 .*ECONNREFUSED/)

  mesh.members.delete(member)
  const refused = await look()
  assert.deepEqual([refused.code, refused.mesh[0]?.state], [1, 'bad'])
  assert.match(refused.mesh[0]?.message ?? '', /proves its key and refuses agent-1/)
  assert.match(refused.mesh[0]?.next ?? '', /hyper invite/)

  const other = await startMesh(t)
  await join1(other.node.addresses())
  const stranger = await look()
  assert.deepEqual([stranger.code, stranger.mesh[0]?.state], [1, 'bad'])
  assert.match(stranger.mesh[0]?.message ?? '', /does not prove the coordinator’s key/)

  await rm(path)
  assert.match((await look()).mesh[0]?.message ?? '', /agent-1 has lost its key/)
})

test('for people it is a line a finding, and -q leaves out what is good', async (t) => {
  const { home, env } = await prepare(t)
  const all = await runHyper(['doctor'], { home, env })
  assert.match(all.stdout.toString(), /^ok {4}engine {7}Docker 20\.10/m)
  assert.equal(all.stderr, '')
  const quiet = await runHyper(['doctor', '-q'], { home, env })
  assert.doesNotMatch(quiet.stdout.toString(), /^ok/m)
})
