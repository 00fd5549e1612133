/** What tests of a mesh of hosts do with calls: long ones, on a certain host, and how they end. */

import assert from 'node:assert/strict'
import { eventually } from './eventually.ts'
import { callAsync, createFunc, type TestFunc, waitOutput } from './functions.ts'
import type { HostMesh, MeshAgent } from './host-mesh.ts'

/** For what has no limit of its own here. */
const SOON_MS = 30_000

const SCRIPT = 'read -r seconds; sleep "$seconds"; echo "$HYPER_CALL_ID.$HYPER_ATTEMPT"'

export const createMeshCalls = (mesh: HostMesh) => ({
  /** Only on agents with this label; its input, and how long it takes, are its lines. */
  functionOn: (host: string, more: object = {}): Promise<TestFunc> =>
    createFunc(mesh.context, `on-${host}`, 'ubuntu', ['sh', '-c', SCRIPT], {
      ...{
        ContainerSize: 's1',
        HostConfig: { NetworkMode: 'none' },
        Constraints: { [host]: 'yes' },
        ...more,
      },
    }),

  /** Its id. */
  lasting: (func: TestFunc, seconds: number): Promise<string> =>
    callAsync(mesh.context, func, `${seconds}\n`),

  untilState(agent: MeshAgent, ...states: string[]): Promise<string> {
    let last: string | undefined
    return eventually(
      async () => {
        last = (await mesh.row(agent))?.state
        return last !== undefined && states.includes(last) ? last : undefined
      },
      SOON_MS,
      () => `${agent.host.name} is ${last}, not ${states.join(' or ')}\n${agent.output()}`,
    )
  },

  /** Until their processes run: what is killed or frozen then is an attempt that counts. */
  async untilRunning(func: TestFunc, ...ids: string[]): Promise<void> {
    for (const id of ids) {
      await eventually(async () => {
        const { status } = await fetch(`${mesh.context.endpoint}/output/${func.path}/${id}`)
        return status === 201
      }, SOON_MS)
    }
  },

  /** One end, of the attempt that is told, in the answer, in a second answer, and in the log. */
  async endedOnce(func: TestFunc, id: string, attempt: number): Promise<void> {
    for (const _delivery of ['first', 'second']) {
      const answer = await waitOutput(mesh.context, func, id)
      assert.equal(await answer.text(), `${id}.${attempt}\n`)
      assert.equal(answer.status, 200)
    }
    const logs = await fetch(`${mesh.context.endpoint}/logs/${func.path}?callid=${id}`)
    const events = (await logs.text())
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { Event: string }).Event)
    const ends = events.filter((event) => ['FINISHED', 'FAILED'].includes(event))
    assert.deepEqual(ends, ['FINISHED'], `its events: ${events.join(', ')}`)
  },
})

export type MeshCalls = ReturnType<typeof createMeshCalls>
