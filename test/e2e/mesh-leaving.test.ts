/**
 * Hosts that go and come back with calls on them, in ways that are not faults: Ctrl-C once and twice,
 * a stop that does not wait long enough, a lid that is closed. Real processes on hosts of their own.
 */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { limits } from '../../protocol/limits.ts'
import { eventually } from '../support/eventually.ts'
import { callSync, type TestFunc, waitOutput } from '../support/functions.ts'
import { type HostMesh, type MeshAgent, openHostMesh } from '../support/host-mesh.ts'
import type { Host } from '../support/hosts.ts'
import { createMeshCalls, type MeshCalls } from '../support/mesh-calls.ts'

/** Far less than the calls that run meanwhile take. */
const AT_ONCE_MS = 5_000
const LONG_S = 60
/** A lease whose agent fell silent is lost by then. */
const LOST_MS = 60_000

let mesh: HostMesh
let calls: MeshCalls
/** It stays, and takes what the others hand back. */
let home: MeshAgent
let away: Host
/** A call of the agent that was stopped at once, and its function. */
let dropped: { readonly func: TestFunc; readonly id: string }

const joinAs = async (host: Host, ...args: string[]): Promise<MeshAgent> => {
  const flags = ['--slots', '4', '--ready', '0', '--label', 'either=yes', ...args]
  return mesh.agent(host, ['--join', await mesh.invite(), ...flags])
}

/** On the other one, while `home` is told to take nothing. */
const alone = async <T>(use: () => Promise<T>): Promise<T> => {
  assert.equal((await mesh.hyper('agents', 'drain', 'home')).code, 0)
  try {
    return await use()
  } finally {
    assert.equal((await mesh.hyper('agents', 'undrain', 'home')).code, 0)
  }
}

before(async () => {
  mesh = await openHostMesh()
  calls = createMeshCalls(mesh)
  home = await joinAs(await mesh.addHost('home'))
  away = await mesh.addHost('away')
})
after(() => mesh.close())

test('the labels of an invitation decide where calls run, whatever the host says of itself', async () => {
  const host = await mesh.addHost('zoned')
  const ticket = await mesh.invite('--label', 'zone=eu')
  const agent = await mesh.agent(host, ['--join', ticket, '--label', 'zone=us', '--ready', '0'])
  const func = await calls.functionOn('zoned', { Constraints: { zone: 'eu' } })
  assert.match(await (await callSync(mesh.context, func, '0\n')).text(), /^[\w-]+\.1\n$/)
  const elsewhere = await calls.functionOn('elsewhere', { Constraints: { zone: 'us' } })
  await calls.lasting(elsewhere, 0)
  await eventually(async () => {
    const answer = await fetch(`${mesh.context.endpoint}/status/${elsewhere.path}?list=1`)
    return /zone/.test(await answer.text())
  })
  assert.equal((await mesh.hyper('func', 'rm', '-f', elsewhere.name)).code, 0)
  assert.equal(await agent.stop(), 0)
})

test('calls that do not end within the drain time are handed back, and one that may not run twice has failed', async () => {
  const often = await calls.functionOn('either')
  const once = await calls.functionOn('once', { Constraints: { either: 'yes' }, AtMostOnce: true })
  const agent = await joinAs(away, '--drain-timeout', '1s')
  const [id, only] = await alone(async () => {
    const ids = await Promise.all([calls.lasting(often, 15), calls.lasting(once, LONG_S)])
    await calls.untilRunning(often, ids[0])
    await calls.untilRunning(once, ids[1])
    return ids
  })
  const start = performance.now()
  assert.equal(await agent.stop(), 0)
  assert.ok(performance.now() - start < 1_000 * 15, 'it did not wait for them')
  const failed = await waitOutput(mesh.context, once, only)
  assert.equal(failed.status, 500)
  assert.match(await failed.text(), /its agent left/)
  await calls.endedOnce(often, id, 2)
  const logs = await fetch(`${mesh.context.endpoint}/logs/${often.path}?callid=${id}`)
  assert.doesNotMatch(await logs.text(), /attempts lost/, 'it used up nothing')
  assert.equal((await mesh.row(agent))?.state, 'left')
})

test('a second Ctrl-C stops an agent at once', async () => {
  const func = await calls.functionOn('twice', { Constraints: { either: 'yes' } })
  const agent = await joinAs(away)
  const id = await alone(async () => {
    const one = await calls.lasting(func, 12)
    await calls.untilRunning(func, one)
    return one
  })
  agent.interrupt()
  await calls.untilState(agent, 'draining')
  await pause(limits.secondSignalMs)
  const start = performance.now()
  agent.interrupt()
  assert.notEqual(await agent.ended, 0)
  const took = performance.now() - start
  assert.ok(took < AT_ONCE_MS, `${took} ms`)
  dropped = { func, id }
})

test('a host that slept longer than its lease is alive when it wakes, and what it says late counts for nothing', async () => {
  const func = await calls.functionOn('sleeps', { Constraints: { either: 'yes' } })
  // Of the host that was stopped at once nothing is started again: it would have its call's result.
  const agent = await joinAs(await mesh.addHost('sleeper'))
  const id = await alone(async () => {
    const one = await calls.lasting(func, 1)
    await calls.untilRunning(func, one)
    agent.signal('SIGSTOP')
    return one
  })
  await eventually(
    async () => {
      const answer = await fetch(`${mesh.context.endpoint}/output/${func.path}/${id}`)
      return answer.status === 200
    },
    LOST_MS,
    () => `nobody ran it again\n${home.output()}`,
  )
  agent.signal('SIGCONT')
  await calls.untilState(agent, 'alive')
  await calls.endedOnce(func, id, 2)
  // It is of use again, and holds nothing of before.
  await eventually(async () => (await mesh.row(agent))?.running === 0)
  await alone(async () => {
    assert.match(await (await callSync(mesh.context, func, '0\n')).text(), /^[\w-]+\.1\n$/)
  })
})

test('what the agent ran that was stopped at once is run elsewhere; started again it leaves nothing', async () => {
  await calls.endedOnce(dropped.func, dropped.id, 2)
  const agent = await mesh.agent(away, ['--ready', '0'])
  assert.equal(await agent.stop(), 0)
})
