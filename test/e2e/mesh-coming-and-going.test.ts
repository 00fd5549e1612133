/**
 * Agents come and go in every way while calls are made (support/host-churn.ts), and a coordinator that
 * was away finds its agents again. The long absence passes while the agents of the other mesh come and
 * go. All are real processes on hosts of their own.
 */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { eventually } from '../support/eventually.ts'
import { callSync, createFunc, type TestFunc } from '../support/functions.ts'
import { checkChurn } from '../support/host-churn.ts'
import { type HostMesh, MESH_PORT, openHostMesh } from '../support/host-mesh.ts'
import { dial } from '../support/hosts.ts'

const AWAY_MS = [45_000, 5_000]
const BACK_MS = 1_500
const HOSTS = ['one', 'two', 'three']

const END_MS = 90_000

/** Without a network: a bridge is its host's own, and these are others. */
const sized = { ContainerSize: 's1', HostConfig: { NetworkMode: 'none' } }

let away: HostMesh
let funcs: readonly TestFunc[]
let awaySince: number

before(async () => {
  away = await openHostMesh()
  const ticket = await away.invite('--uses', `${HOSTS.length}`)
  const flags = ['--join', ticket, '--slots', '1', '--ready', '1']
  await Promise.all(
    HOSTS.map(async (name) =>
      away.agent(await away.addHost(name), [...flags, '--label', `${name}=yes`]),
    ),
  )
  funcs = await Promise.all(
    HOSTS.map((name) =>
      createFunc(away.context, name, 'ubuntu', ['cat'], {
        ...{ ...sized, Constraints: { [name]: 'yes' } },
      }),
    ),
  )
  for (const func of funcs) assert.equal((await callSync(away.context, func)).status, 200)
  await away.killCoordinator()
  awaySince = performance.now()
})
after(() => away.close())

test('agents come and go in every way during calls: every promise is kept', () =>
  // The soak has 20 agents and 500 calls.
  checkChurn({ agents: 8, calls: 150 }))

for (const [at, ms] of AWAY_MS.entries()) {
  test(`agents serve within 1.5 s after a coordinator was away for ${ms / 1000} s`, async () => {
    if (at > 0) {
      await away.killCoordinator()
      awaySince = performance.now()
    }
    await pause(Math.max(0, ms - (performance.now() - awaySince)))
    await away.startCoordinator()
    const isListening = async (): Promise<boolean> =>
      (await dial(away.coordinator, MESH_PORT)) === 'connected'
    await eventually(isListening, END_MS)
    const since = performance.now()
    const isServed = async (func: TestFunc): Promise<boolean> =>
      callSync(away.context, func).then(
        ({ status }) => status === 200,
        () => false,
      )
    const took = await Promise.all(
      funcs.map(async (func) => {
        await eventually(() => isServed(func), END_MS)
        return Math.round(performance.now() - since)
      }),
    )
    console.log(`back after ${ms / 1000} s: served after ${took.join(', ')} ms`)
    assert.ok(Math.max(...took) <= BACK_MS, `${took.join(', ')} ms`)
  })
}
