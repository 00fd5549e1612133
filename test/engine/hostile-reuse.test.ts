/**
 * Calls that end at once, one after the other, while containers stand ready: the engine’s own events
 * tell that each container was made before its one call, and removed after it.
 */

import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import Type from 'typebox'
import type { ImagePin } from '../../protocol/image.ts'
import { createParser } from '../../protocol/schema.ts'
import { type AgentBench, createAgentBench } from '../support/agent-bench.ts'
import { connectDocker } from '../support/docker.ts'
import { eventually } from '../support/eventually.ts'

const CALLS = process.env.HYPER_LONG === '1' ? 1000 : 40
/** Side by side: the first finds one that stands ready, the others may not. */
const ABREAST = 4
const ROUNDS = CALLS / ABREAST
const READY_MS = 60_000
const GONE_MS = 120_000
const LIFE = ['create', 'start', 'die', 'destroy'] as const

const parseEvent = createParser(
  Type.Object({
    Action: Type.String(),
    Actor: Type.Object({ ID: Type.String() }),
    timeNano: Type.Number(),
  }),
  'INTERNAL',
  'an event of the engine',
)

interface Served {
  readonly assignedMs: number
  readonly acknowledgedMs: number
}

let bench: AgentBench
let ubuntu: ImagePin

before(async () => {
  bench = await createAgentBench({ ready: 8 })
  await bench.open()
  await bench.connect()
  ubuntu = await bench.pin('ubuntu')
})
after(() => bench.close())

type Lives = Map<string, { readonly action: string; readonly atMs: number }[]>

/** What the engine says of each of this agent's containers, from now on. */
const follow = async (): Promise<{ readonly lives: Lives; readonly close: () => void }> => {
  const client = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  const filters = JSON.stringify({ type: ['container'], label: [`hyper.agent=${bench.agentId}`] })
  const events = await client.docker.getEvents({ filters })
  assert.ok(events instanceof Readable)
  const lives: Lives = new Map()
  const lines = createInterface({ input: events })
  lines.on('line', (line) => {
    const { Action: action, Actor, timeNano } = parseEvent(JSON.parse(line))
    if (!LIFE.some((step) => step === action)) return
    const life = lives.get(Actor.ID) ?? []
    life.push({ action, atMs: timeNano / 1e6 })
    lives.set(Actor.ID, life)
  })
  const close = (): void => {
    lines.close()
    events.destroy()
    client.close()
  }
  return { lives, close }
}

const isOneReady = (): boolean =>
  [...bench.premises().pool.ready().values()].some((count) => count > 0)

/** One call, which ends as soon as it has said where it is. */
const callOnce = async (served: Map<string, Served[]>): Promise<void> => {
  const assignedMs = Date.now()
  const key = bench.assign({ image: ubuntu, cmd: ['cat', '/etc/hostname'] })
  const result = await bench.result(key)
  const acknowledgedMs = Date.now()
  bench.acknowledge(key)
  assert.equal(result.code, 'FINISHED', result.message)
  const name = Buffer.from(result.stdout).toString().trim()
  served.set(name, [...(served.get(name) ?? []), { assignedMs, acknowledgedMs }])
}

test(`${CALLS} calls that end at once have ${CALLS} containers, each for itself`, async () => {
  const { lives, close } = await follow()
  try {
    const served = new Map<string, Served[]>()
    bench.prepare({ image: ubuntu })
    for (let round = 0; round < ROUNDS; round += 1) {
      await eventually(isOneReady, READY_MS)
      await Promise.all(Array.from({ length: ABREAST }, () => callOnce(served)))
    }
    await bench.quiet()
    assert.equal(served.size, CALLS)
    const idOf = (name: string): string => [...lives.keys()].find((id) => id.startsWith(name)) ?? ''
    const isOver = (name: string): boolean => lives.get(idOf(name))?.at(-1)?.action === 'destroy'
    await eventually(() => [...served.keys()].every(isOver), GONE_MS)
    let ahead = 0
    for (const [name, calls] of served) {
      const life = lives.get(idOf(name)) ?? []
      const steps = life.map(({ action }) => action)
      assert.deepEqual([calls.length, steps], [1, LIFE], name)
      const [call] = calls
      const [createdMs = 0, destroyedMs = 0] = [life.at(0)?.atMs, life.at(-1)?.atMs]
      assert.ok(call !== undefined && createdMs < call.acknowledgedMs)
      assert.ok(destroyedMs >= call.acknowledgedMs, 'it was removed before its call had ended')
      if (createdMs < call.assignedMs) ahead += 1
    }
    assert.ok(ahead >= ROUNDS, `${ahead} stood ready before their calls`)
  } finally {
    close()
  }
})
