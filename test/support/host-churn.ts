/**
 * Agents that join, stay and go in every way while calls are made, all real processes on hosts of their
 * own, and the check of what was seen and written meanwhile. They share the test engine, and start
 * containers by its OCI runtime. SEED repeats the order of ways, as far as processes do.
 */

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { digestOf, type Observation } from '../simulation/history.ts'
import { monotonicMs } from './disk-witness.ts'
import { eventually } from './eventually.ts'
import { callAsync, createFunc, type TestFunc } from './functions.ts'
import type { HostDaemon } from './host-daemon.ts'
import { type HostMesh, openHostMesh, READY } from './host-mesh.ts'
import { createRandom } from './ledger-words.ts'
import { COORDINATOR, checkRealHistory, readWitness } from './real-history.ts'
import { checkTheCheck } from './spoiled-history.ts'

/** So many are there at a time. */
const SEATS = 5
const STAY_MS = 2_000
/** Longer than it takes to notice, shorter than a lease. */
const SILENT_MS = 4_000
const CALLERS = 10
const CALL_PAUSE_MS = 50

const SCRIPT = 'echo "$HYPER_CALL_ID.$HYPER_ATTEMPT"; cat; sleep 0.1'
/** Without a network: a bridge is its host's own, and these are others. */
const sized = { ContainerSize: 's1', HostConfig: { NetworkMode: 'none' } }

export interface Size {
  /** How many come in all. */
  readonly agents: number
  /** How many calls end at least. */
  readonly calls: number
}

type Way = 'leaves' | 'is killed' | 'is cut off' | 'is frozen'

/** What one agent does: it joins, stays, goes by its way, comes back where it did not leave, leaves. */
const live = async (of: {
  readonly mesh: HostMesh
  readonly ticket: string
  readonly name: string
  /** Or until when it stays. */
  readonly way: Way | Promise<void>
  readonly onReady: () => void
}): Promise<void> => {
  const { mesh, way } = of
  const host = await mesh.addHost(of.name)
  const flags = ['--slots', '2', '--memory', '256m', '--ready', '0', '--drain-timeout', '2s']
  const come = async (): Promise<HostDaemon> => {
    const daemon = await mesh.start(host, ['join', of.ticket, ...flags])
    await daemon.said(READY)
    return daemon
  }
  let daemon = await come()
  of.onReady()
  await (way instanceof Promise ? way : pause(STAY_MS))
  if (way === 'is killed') {
    await daemon.kill()
    daemon = await come()
  } else if (way === 'is cut off') {
    await host.cut()
    await pause(SILENT_MS)
    await host.heal()
  } else if (way === 'is frozen') {
    daemon.signal('SIGSTOP')
    await pause(SILENT_MS)
    daemon.signal('SIGCONT')
  }
  assert.equal(await daemon.stop(), 0, daemon.output())
}

interface Clients {
  readonly observations: readonly Observation[]
  /** Calls of which the end was seen. */
  ended(): number
  call(func: TestFunc, isOnce: boolean): Promise<void>
}

const createClients = (mesh: HostMesh): Clients => {
  const observations: Observation[] = []
  let ops = 0
  let ended = 0
  const look = async (func: TestFunc, callId: string, op: number, path: '' | '/wait') => {
    const askedMs = monotonicMs()
    const { endpoint } = mesh.context
    const answer = await fetch(`${endpoint}/output/${func.path}/${callId}${path}`)
    const body = await answer.bytes()
    const attempt = Number(answer.headers.get('x-hyper-attempt') ?? 0)
    const code = answer.headers.get('x-hyper-reason') ?? ''
    observations.push({
      ...{ type: 'seen', coordinator: COORDINATOR, op, callId, askedMs, status: answer.status },
      ...{ via: path === '' ? 'get' : 'wait', code, attempt, body: digestOf(body), text: '' },
      ...{ isWhole: true, atMs: monotonicMs() },
    })
    return { status: answer.status, attempt, text: Buffer.from(body).toString() }
  }
  return {
    observations,
    ended: () => ended,
    async call(func, isOnce) {
      ops += 1
      const op = ops
      const input = `input of ${op}\n`
      observations.push({
        ...{ type: 'submitted', op, funcId: func.name, accountId: 'default', isSync: false },
        ...{ input: digestOf(Buffer.from(input)), atMs: monotonicMs() },
      })
      const callId = await callAsync(mesh.context, func, input)
      observations.push({
        ...{ type: 'accepted', op, callId, coordinator: COORDINATOR, atMs: monotonicMs() },
      })
      await look(func, callId, op, '')
      const end = await look(func, callId, op, '/wait')
      if (isOnce && end.status === 500) assert.match(end.text, /agent lost|agent left/)
      else {
        assert.equal(end.status, 200, `${callId}: ${end.text}`)
        assert.equal(end.text, `${callId}.${end.attempt}\n${input}`)
      }
      assert.deepEqual(await look(func, callId, op, ''), end, 'every delivery is the same')
      ended += 1
    },
  }
}

/** Three of them silent; the others leave. */
const WAYS = 5

/** Each way some times, in an order of the seed's. */
const drawWays = (random: ReturnType<typeof createRandom>, agents: number): Way[] => {
  const silent = ['is killed', 'is cut off', 'is frozen'] as const
  const ways: Way[] = Array.from(
    { length: agents - SEATS },
    (_, at) => silent[at % WAYS] ?? 'leaves',
  )
  for (let at = ways.length - 1; at > 0; at -= 1) {
    const other = random.below(at + 1)
    const [one = 'leaves', two = 'leaves'] = [ways[at], ways[other]]
    ;[ways[at], ways[other]] = [two, one]
  }
  return ways
}

/** Makes calls until all have come, those but the last few have gone, and there were enough of them. */
const churn = async (
  mesh: HostMesh,
  ways: readonly Way[],
  { agents, calls: callsMin }: Size,
): Promise<Clients> => {
  const clients = createClients(mesh)
  const ticket = await mesh.invite('--uses', `${agents}`)
  const left = ways.values()
  let came = 0
  let isBroken = false
  const firstIsThere = Promise.withResolvers<void>()
  const callsAreOver = Promise.withResolvers<void>()
  const next = (way: Way | Promise<void>): Promise<void> => {
    came += 1
    return live({ mesh, ticket, name: `agent-${came}`, way, onReady: firstIsThere.resolve })
  }
  const seat = async (): Promise<void> => {
    for (const way of left) await next(way)
    await next(callsAreOver.promise)
  }
  const callOn = async (func: TestFunc, isOnce: boolean): Promise<void> => {
    while (!isBroken && (came < agents || clients.ended() < callsMin)) {
      await clients.call(func, isOnce)
      await pause(CALL_PAUSE_MS)
    }
  }
  /** The others stop soon after the first that fails. */
  const settled = (works: readonly Promise<void>[]) =>
    Promise.allSettled(
      works.map((work) =>
        work.catch((error: unknown) => {
          isBroken = true
          firstIsThere.resolve()
          throw error
        }),
      ),
    )
  const lives = settled(Array.from({ length: SEATS }, seat))
  await firstIsThere.promise
  const callers = async (): Promise<void> => {
    const create = (name: string, more: object): Promise<TestFunc> =>
      createFunc(mesh.context, name, 'ubuntu', ['sh', '-c', SCRIPT], { ...sized, ...more })
    // The one that pulls its image may be about to leave.
    const once = await eventually(() => create('once', { AtMostOnce: true }).catch(() => undefined))
    const many = await create('many', { MaxAttempts: 20 })
    const work = Array.from({ length: CALLERS - 1 }, () => callOn(many, false))
    await Promise.all([...work, callOn(once, true)])
  }
  const calls = await settled([callers()])
  callsAreOver.resolve()
  for (const end of [...calls, ...(await lives)]) if (end.status === 'rejected') throw end.reason
  return clients
}

/** Throws where a promise was not kept. */
export const checkChurn = async (size: Size): Promise<void> => {
  const seed = Number(process.env.SEED ?? 1)
  const folder = await mkdtemp(join(tmpdir(), 'witness-'))
  const witness = join(folder, 'batches')
  const start = performance.now()
  try {
    const mesh = await openHostMesh(['--quota', '8'], {
      HYPER_TEST_WITNESS: witness,
      NODE_OPTIONS: `--import ${new URL('./disk-witness.ts', import.meta.url)}`,
    })
    let clients: Clients
    try {
      clients = await churn(mesh, drawWays(createRandom(seed), size.agents), size)
    } finally {
      await mesh.close()
    }
    const seconds = Math.round((performance.now() - start) / 1000)
    console.log(`seed ${seed}: ${clients.ended()} calls, ${size.agents} agents in ${seconds} s`)
    assert.ok(clients.ended() >= size.calls)
    const history = [...clients.observations, ...(await readWitness(witness))]
    checkRealHistory(history)
    checkTheCheck(history)
  } catch (cause) {
    throw new Error(`seed ${seed} (SEED=${seed} repeats the order of ways)`, { cause })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
