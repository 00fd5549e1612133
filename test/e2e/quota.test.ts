/** Quota and order, seen from the engine: 200 calls under quota 2 on two agents. */

import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { type Deployment, startDeployment } from '../support/deployment.ts'
import { connectDocker } from '../support/docker.ts'
import { api, callAsync, createFunc, waitOutput } from '../support/functions.ts'

let deployment: Deployment

before(async () => {
  deployment = await startDeployment(['--agents', '2', '--quota', '2'])
})
after(() => deployment.stop())

const CALLS = 200

test('200 calls under quota 2 on two agents run two at a time, in order, and all end', async () => {
  const { context } = deployment
  const func = await createFunc(context, 'echo', 'hyper-func/hello', ['/hello'])
  const socketPath = process.env.HYPER_TEST_DOCKER_SOCKET ?? ''
  const { docker, close } = connectDocker(socketPath)
  const events = await docker.getEvents({
    filters: { label: ['hyper.agent'], type: ['container'] },
  })
  let running = 0
  let most = 0
  let starts = 0
  const lines = createInterface({ input: events })
  lines.on('line', (line) => {
    const { Action } = JSON.parse(line) as { Action: string }
    if (Action === 'start') {
      starts += 1
      running += 1
    } else if (Action === 'die') running -= 1
    most = Math.max(most, running)
  })
  try {
    const ids: string[] = []
    for (let number = 0; number < CALLS; number += 1) {
      ids.push(await callAsync(context, func, `call ${number}`))
    }
    for (const [number, id] of ids.entries()) {
      const answer = await waitOutput(context, func, id)
      assert.equal(answer.status, 200)
      assert.equal(await answer.text(), `Hello, call ${number}!\n`)
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
    assert.equal(starts, CALLS)
    assert.equal(most, 2, 'containers at once')
    const agents = (await (await api(context, 'GET', '/agents')).json()) as { agent: string }[]
    assert.equal(agents.length, 2)
  } finally {
    lines.close()
    if ('destroy' in events && typeof events.destroy === 'function') events.destroy()
    close()
  }
})
