/** Quota and order, seen from the containers: 200 calls under quota 2 on two agents. */

import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { type Deployment, startDeployment } from '../support/deployment.ts'
import { connectDocker } from '../support/docker.ts'
import { eventually } from '../support/eventually.ts'
import { api, callAsync, createFunc, waitOutput } from '../support/functions.ts'

let deployment: Deployment

before(async () => {
  deployment = await startDeployment(['--agents', '2', '--quota', '2'])
})
after(() => deployment.stop())

const CALLS = 200

/** It says what it was given, and when it ran: by the host's own clock, in seconds. */
const SCRIPT = 'read from rest </proc/uptime; cat; read to rest </proc/uptime; echo " $from $to"'

/** How many ran at once at the most. */
const mostAtOnce = (runs: readonly { from: number; to: number }[]): number =>
  Math.max(
    ...runs.map(({ from }) => runs.filter((run) => run.from <= from && from < run.to).length),
  )

test('200 calls under quota 2 on two agents run two at a time, in order, and all end', async () => {
  const { context } = deployment
  const func = await createFunc(context, 'when', 'ubuntu', ['sh', '-c', SCRIPT])
  const socketPath = process.env.HYPER_TEST_DOCKER_SOCKET ?? ''
  const { docker, close } = connectDocker(socketPath)
  const events = await docker.getEvents({
    filters: { label: ['hyper.agent'], type: ['container'], event: ['die'] },
  })
  const served = new Set<string>()
  const lines = createInterface({ input: events })
  lines.on('line', (line) => {
    const { Actor } = JSON.parse(line) as {
      Actor: { ID: string; Attributes: { exitCode: string } }
    }
    // Those that stood ready and were not needed end in other ways.
    if (Actor.Attributes.exitCode === '0') served.add(Actor.ID)
  })
  try {
    const ids: string[] = []
    for (let number = 0; number < CALLS; number += 1) {
      ids.push(await callAsync(context, func, `call ${number}`))
    }
    const runs: { from: number; to: number }[] = []
    for (const [number, id] of ids.entries()) {
      const answer = await waitOutput(context, func, id)
      assert.equal(answer.status, 200)
      const said = /^call (\d+) ([\d.]+) ([\d.]+)\n$/.exec(await answer.text())
      assert.equal(Number(said?.[1]), number)
      runs.push({ from: Number(said?.[2]), to: Number(said?.[3]) })
    }
    const log = await fetch(`${context.endpoint}/logs/${func.path}`)
    const started = (await log.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { Event: string; CallId: string })
      .filter(({ Event }) => Event === 'RUNNING')
    assert.equal(started.length, CALLS)
    // Two leases stand at most, so when a call starts, one before it at most has not started yet.
    const waiting = [...ids]
    for (const { CallId } of started) {
      const before = waiting.indexOf(CallId)
      assert.ok(before === 0 || before === 1, `${CallId} started before ${before} older calls`)
      waiting.splice(before, 1)
    }
    assert.ok(mostAtOnce(runs) <= 2, `${mostAtOnce(runs)} ran at once`)
    await eventually(
      () => served.size === CALLS,
      30_000,
      () => `${served.size} containers served ${CALLS} calls`,
    )
    const agents = (await (await api(context, 'GET', '/agents')).json()) as { agent: string }[]
    assert.equal(agents.length, 2)
  } finally {
    lines.close()
    if ('destroy' in events && typeof events.destroy === 'function') events.destroy()
    close()
  }
})
