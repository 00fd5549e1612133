/** A whole Hyper Func beside the raw engine, and what the benches do with both. */

import { setTimeout as pause } from 'node:timers/promises'
import type Docker from 'dockerode'
import type { Deployment } from '../test/support/deployment.ts'
import { eventually } from '../test/support/eventually.ts'
import { callSync, type TestFunc } from '../test/support/functions.ts'
import type { RawEngine } from './raw-engine.ts'

export interface Bench {
  readonly docker: Docker
  readonly raw: RawEngine
  readonly deployment: Deployment
}

export const timed = async (act: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await act()
  return performance.now() - start
}

/** Throws where the answer is not what the function must say. */
export const call = async ({ deployment }: Bench, func: TestFunc, body = new Uint8Array(0)) => {
  const answer = await callSync(deployment.context, func, body)
  const bytes = (await answer.bytes()).byteLength
  const expected = body.byteLength > 0 ? body.byteLength : 'hello\n'.length
  if (answer.status !== 200 || bytes !== expected) {
    throw new Error(`the call answered ${answer.status} with ${bytes} bytes`)
  }
}

export const readyNow = async ({ deployment }: Bench): Promise<number> => {
  const { endpoint, token } = deployment.context
  const response = await fetch(`${endpoint}/agents`, {
    headers: { authorization: `Bearer ${token}` },
  })
  const agents = (await response.json()) as { ready: number }[]
  return agents.reduce((sum, { ready }) => sum + ready, 0)
}

/** No container is started or removed for so long: nothing weighs on what is measured next. */
export const untilIdle = async ({ docker }: Bench, stillMs = 400): Promise<void> => {
  let before = ''
  await eventually(async () => {
    const rows = await docker.listContainers({ all: true })
    const now = rows.map(({ Id, State }) => `${Id}${State}`).join()
    const isSame = now === before
    before = now
    if (!isSame) await pause(stillMs)
    return isSame
  }, 120_000)
}
