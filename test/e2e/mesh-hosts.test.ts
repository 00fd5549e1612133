/**
 * One mesh on hosts of their own, real processes and real containers: a host that joins serves, also
 * one that can only dial out; one that dies, freezes or is cut off is noticed in time, and nothing of
 * what it ran is lost or counted twice; one that is removed is out at once.
 */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { connectDocker } from '../support/docker.ts'
import { callSync, waitOutput } from '../support/functions.ts'
import { type HostMesh, MESH_PORT, type MeshAgent, openHostMesh } from '../support/host-mesh.ts'
import { dial, type Host } from '../support/hosts.ts'
import { createMeshCalls, type MeshCalls } from '../support/mesh-calls.ts'
import { run } from '../support/program.ts'

/** The limits that the mesh is held to. */
const SERVED_MS = 3_000
/** Where the machine leaves less than that: of what nobody can do without there (`groundMs`). */
const SERVED_RATIO = 2
const KILLED_MS = 500
const SILENT_MS = 3_000
/** What a removed agent says at last, with what to do next. */
const OUT = /hyper: coordinator \w+ does not know \w+\. Join with a ticket: `hyper invite`/

let mesh: HostMesh
let calls: MeshCalls
/** The agents that all tests but the first share, and a function for each of them. */
let ada: MeshAgent
let bob: MeshAgent

before(async () => {
  mesh = await openHostMesh()
  calls = createMeshCalls(mesh)
})
after(() => mesh.close())

const joinAs = async (host: Host, ...labels: string[]): Promise<MeshAgent> => {
  const label = labels.flatMap((name) => ['--label', `${name}=yes`])
  return mesh.agent(host, ['--join', await mesh.invite(), '--slots', '4', '--ready', '0', ...label])
}

/** How long it took, told where it is shown that a limit is kept. */
const timed = async (
  what: string,
  limitMs: number,
  wait: () => Promise<unknown>,
): Promise<void> => {
  const start = performance.now()
  await wait()
  const took = performance.now() - start
  console.log(`${what}: ${Math.round(took)} ms, ${limitMs} at the most`)
  assert.ok(took <= limitMs, `${what} took ${Math.round(took)} ms`)
}

/** What comes before any call on a new host: Node loads the agent, and the engine runs a container. */
const groundMs = async (): Promise<number> => {
  const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  try {
    const start = performance.now()
    await run(process.execPath, ['--input-type=module', '--eval', LOAD])
    const container = await docker.createContainer({
      ...{ Image: 'ubuntu', Cmd: ['true'], HostConfig: { NetworkMode: 'none' } },
      Labels: { hyper: 'test' },
    })
    try {
      await container.start()
      await container.wait()
      return performance.now() - start
    } finally {
      await container.remove({ force: true })
    }
  } finally {
    close()
  }
}

const LOAD = ['agent', 'mesh']
  .map((name) => `await import('${new URL(`../../agent/${name}.ts`, import.meta.url)}')`)
  .join('; ')

test('a host that can only dial out joins and serves', async () => {
  const host = await mesh.addHost('ada')
  assert.equal(await dial(host, MESH_PORT), 'ECONNREFUSED')
  await host.refuseInbound()
  assert.equal(await dial(host, MESH_PORT), 'no answer')
  ada = await joinAs(host, 'ada', 'either')
  const func = await calls.functionOn('ada')
  const answer = await callSync(mesh.context, func, '0\n')
  assert.match(await answer.text(), /^[\w-]+\.1\n$/)
})

test('a host that joins serves a call that waits for it', async () => {
  const host = await mesh.addHost('eve')
  const ground = await groundMs()
  console.log(`to load the agent, and one container by the engine: ${Math.round(ground)} ms`)
  const func = await calls.functionOn('eve')
  const id = await calls.lasting(func, 0)
  const ticket = await mesh.invite()
  const start = performance.now()
  const joining = await mesh.start(host, ['join', ticket, '--label', 'eve=yes'])
  // Until here Node loads the command, however long that takes on a machine that is busy.
  console.log(
    `hyper join: its agent is a process after ${Math.round(performance.now() - start)} ms`,
  )
  const ms = Math.max(SERVED_MS, SERVED_RATIO * ground)
  await timed('agent to first call served', ms, () => waitOutput(mesh.context, func, id))
  assert.equal(await joining.stop(), 0)
})

test('an agent that is killed is lost within 0.5 s, and alive when it is started again', async () => {
  bob = await joinAs(await mesh.addHost('bob'), 'bob', 'either')
  const func = await calls.functionOn('bob')
  const id = await calls.lasting(func, 2)
  await calls.untilRunning(func, id)
  await timed('killed agent noticed', KILLED_MS, async () => {
    bob.signal('SIGKILL')
    assert.equal(await calls.untilState(bob, 'suspect', 'lost', 'left'), 'lost')
  })
  await bob.kill()
  bob = await mesh.agent(bob.host, ['--slots', '4', '--label', 'bob=yes', '--label', 'either=yes'])
  await calls.untilState(bob, 'alive')
  await calls.endedOnce(func, id, 1)
})

test('an agent that is frozen with a call is suspect within 3 s; thawed, its result counts', async () => {
  const func = await calls.functionOn('bob-frozen', { Constraints: { bob: 'yes' } })
  const id = await calls.lasting(func, 1)
  await calls.untilRunning(func, id)
  await timed('frozen agent noticed', SILENT_MS, async () => {
    bob.signal('SIGSTOP')
    assert.equal(await calls.untilState(bob, 'suspect', 'lost', 'left'), 'suspect')
  })
  bob.signal('SIGCONT')
  await calls.untilState(bob, 'alive')
  await calls.endedOnce(func, id, 1)
})

test('an agent that is cut off with calls is suspect within 3 s; healed, no result is lost', async () => {
  const func = await calls.functionOn('ada-cut', { Constraints: { ada: 'yes' } })
  // Those that end while it is away, and one after.
  const ids = await Promise.all([2, 2, 7].map((seconds) => calls.lasting(func, seconds)))
  await calls.untilRunning(func, ...ids)
  await timed('cut agent noticed', SILENT_MS, async () => {
    await ada.host.cut()
    assert.equal(await calls.untilState(ada, 'suspect', 'lost', 'left'), 'suspect')
  })
  await ada.host.heal()
  await calls.untilState(ada, 'alive')
  for (const id of ids) await calls.endedOnce(func, id, 1)
})

test('an agent that is removed is out at once, and its calls go elsewhere or fail', async () => {
  const often = await calls.functionOn('either')
  const only = await calls.functionOn('once', { Constraints: { bob: 'yes' }, AtMostOnce: true })
  const drained = await mesh.hyper('agents', 'drain', 'ada')
  assert.equal(drained.code, 0, drained.stderr)
  await calls.untilState(ada, 'draining')
  const [id, lost] = await Promise.all([calls.lasting(often, 3), calls.lasting(only, 20)])
  await calls.untilRunning(often, id)
  await calls.untilRunning(only, lost)
  const undrained = await mesh.hyper('agents', 'undrain', 'ada')
  assert.equal(undrained.code, 0, undrained.stderr)
  const removed = await mesh.hyper('agents', 'rm', 'bob')
  assert.equal(removed.code, 0, removed.stderr)
  const answer = await waitOutput(mesh.context, only, lost)
  assert.equal(answer.status, 500)
  assert.match(await answer.text(), /agent lost/)
  await calls.endedOnce(often, id, 2)
  assert.equal(await bob.ended, 4, 'not allowed')
  assert.match(bob.output(), OUT)
  assert.equal((await mesh.row(bob))?.state, 'revoked')
  const again = await mesh.start(bob.host, ['agent'])
  assert.equal(await again.ended, 4, 'it gets no further than the handshake')
  assert.match(again.output(), OUT)
})
