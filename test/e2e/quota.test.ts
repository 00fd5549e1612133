/** Quota and order, seen from the engine: 200 calls under quota 2 on two agents. */

import assert from 'node:assert/strict'
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
  events.on('data', (chunk: Buffer) => {
    for (const line of chunk.toString().trim().split('\n')) {
      const { Action } = JSON.parse(line) as { Action: string }
      if (Action === 'start') {
        starts += 1
        running += 1
      } else if (Action === 'die') running -= 1
      most = Math.max(most, running)
    }
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
    const lines = (await log.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { Event: string; CallId: string })
    const running_ = lines.filter(({ Event }) => Event === 'RUNNING').map(({ CallId }) => CallId)
    const place = new Map(ids.map((id, index) => [id, index]))
    // Two run side by side, so two neighbours may say in either order that they started.
    for (const [index, id] of running_.entries()) {
      assert.ok(Math.abs((place.get(id) ?? -99) - index) <= 1, `${id} started out of order`)
    }
    assert.equal(starts, CALLS)
    assert.equal(most, 2, 'containers at once')
    const agents = (await (await api(context, 'GET', '/agents')).json()) as { agent: string }[]
    assert.equal(agents.length, 2)
  } finally {
    events.removeAllListeners()
    if ('destroy' in events && typeof events.destroy === 'function') events.destroy()
    close()
  }
})
