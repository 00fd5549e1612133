/**
 * Real processes on a real engine while both kinds of daemons are killed and frozen: every call that
 * was accepted ends once, with the bytes of one of its own attempts; at-most-once calls run once at
 * the most; nothing is left. SEED repeats an order of faults.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { type Deployment, startDeployment } from '../support/deployment.ts'
import { connectDocker } from '../support/docker.ts'
import { eventually } from '../support/eventually.ts'
import { api, callAsync, createFunc, type TestFunc, waitOutput } from '../support/functions.ts'
import { createRandom } from '../support/ledger-words.ts'

const FAULTS = 8
const FAULT_PAUSE_MS = 2_000
const CALLERS = 2
const CALL_PAUSE_MS = 250
/** Longer than the coordinator's own absence that it forgives. */
const FREEZE_MS = 6_000
const END_MS = 90_000

/** It says which attempt it is, then its input; it lasts long enough to be met by a fault. */
const SCRIPT = 'echo "$HYPER_CALL_ID.$HYPER_ATTEMPT"; cat; sleep 0.3'

interface Accepted {
  readonly func: TestFunc
  readonly id: string
  readonly input: string
}

let deployment: Deployment

before(async () => {
  deployment = await startDeployment(['--agents', '2', '--quota', '4'])
})
after(() => deployment.stop())

/** The daemons that `hyper up` runs now. */
const daemons = (part: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const status = readFileSync(`/proc/${name}/status`, 'utf8')
        const isChild = status.includes(`\nPPid:\t${deployment.up.pid}\n`)
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8')
        return isChild && command.includes(part) ? [Number(name)] : []
      } catch {
        return []
      }
    })

const signal = (pid: number | undefined, name: NodeJS.Signals): void => {
  try {
    if (pid !== undefined) process.kill(pid, name)
  } catch {
    // It has just ended by itself, or by the fault before.
  }
}

const freeze = async (pid: number | undefined, ms: number): Promise<void> => {
  signal(pid, 'SIGSTOP')
  await pause(ms)
  signal(pid, 'SIGCONT')
}

const doFault = async (kind: number): Promise<void> => {
  const [coordinator] = daemons('coordinator/main')
  const agents = daemons('agent/main')
  if (kind === 0) signal(coordinator, 'SIGKILL')
  else if (kind === 1) signal(agents[0], 'SIGKILL')
  else if (kind === 2) for (const pid of agents) signal(pid, 'SIGKILL')
  else if (kind === 3) await freeze(coordinator, FREEZE_MS)
  else if (kind === 4) await freeze(agents.at(-1), FREEZE_MS / 2)
  else {
    signal(agents.at(-1), 'SIGKILL')
    signal(coordinator, 'SIGKILL')
  }
}

/** Calls until told to stop. What was not answered may or may not be a call. */
const callOn = async (
  name: string,
  funcs: readonly TestFunc[],
  isOver: () => boolean,
  accepted: Accepted[],
): Promise<void> => {
  for (let number = 0; !isOver(); number += 1) {
    const func = funcs[number % funcs.length]
    assert.ok(func !== undefined)
    const input = `${name} ${number}\n`
    const id = await callAsync(deployment.context, func, input).catch(() => null)
    if (id !== null) accepted.push({ func, id, input })
    await pause(CALL_PAUSE_MS)
  }
}

/** The end of a call, asked for until a coordinator is there to tell it. */
const endOf = ({
  func,
  id,
}: Accepted): Promise<{ status: number; attempt: string; body: string }> =>
  eventually(
    async () => {
      const answer = await waitOutput(deployment.context, func, id).catch(() => null)
      if (answer === null || answer.status === 503) return undefined
      const body = await answer.text().catch(() => null)
      if (body === null) return undefined
      return { status: answer.status, attempt: answer.headers.get('x-hyper-attempt') ?? '', body }
    },
    END_MS,
    () => `${id} has no end`,
  )

const check = async (call: Accepted, once: TestFunc): Promise<'finished' | 'lost'> => {
  const first = await endOf(call)
  if (call.func === once && first.status === 500) {
    assert.match(first.body, /agent lost|agent left|its container/, first.body)
    return 'lost'
  }
  assert.equal(first.status, 200, `${call.id}: ${first.body}`)
  assert.equal(first.body, `${call.id}.${first.attempt}\n${call.input}`, 'its own bytes, once')
  assert.deepEqual(await endOf(call), first, 'every delivery is the same')
  return 'finished'
}

const CALL_ID = /([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.\d+\n/

/** Containers whose process ran to its end (hyper-init's status 0), by the call that they say they ran. */
const watchEnds = async () => {
  const { docker, close } = connectDocker(process.env.HYPER_TEST_DOCKER_SOCKET ?? '')
  const events = await docker.getEvents({
    filters: { label: ['hyper.agent'], type: ['container'], event: ['start', 'die'] },
  })
  const said = new Map<string, string>()
  const ends = new Map<string, number>()
  const listen = async (id: string): Promise<void> => {
    const options = { follow: true, stdout: true, stderr: false } as const
    const log = await docker.getContainer(id).logs(options)
    log.on('data', (chunk: Buffer) => said.set(id, (said.get(id) ?? '') + chunk.toString('latin1')))
    await once(log, 'end')
  }
  const heard = new Map<string, Promise<void>>()
  const count = async (id: string): Promise<void> => {
    await heard.get(id)
    const [, call = ''] = CALL_ID.exec(said.get(id) ?? '') ?? []
    ends.set(call, (ends.get(call) ?? 0) + 1)
  }
  const lines = createInterface({ input: events })
  lines.on('line', (line) => {
    const { Action, Actor } = JSON.parse(line) as {
      Action: string
      Actor: { ID: string; Attributes: Record<string, string> }
    }
    if (Action === 'start')
      heard.set(
        Actor.ID,
        listen(Actor.ID).catch(() => undefined),
      )
    else if (Actor.Attributes.exitCode === '0') void count(Actor.ID)
  })
  const left = async (): Promise<number> => {
    const filters = JSON.stringify({ label: ['hyper.agent'] })
    return (await docker.listContainers({ all: true, filters })).length
  }
  return {
    ends,
    left,
    stop(): void {
      lines.close()
      if ('destroy' in events && typeof events.destroy === 'function') events.destroy()
      close()
    },
  }
}

test('calls keep their promises while daemons are killed and frozen', async () => {
  const seed = Number(process.env.SEED ?? 1)
  const random = createRandom(seed)
  const { context } = deployment
  const script = ['sh', '-c', SCRIPT]
  const often = { ContainerSize: 's1', MaxAttempts: 20 }
  const many = await createFunc(context, 'many', 'ubuntu', script, often)
  const onlyOnce = await createFunc(context, 'once', 'ubuntu', script, {
    ...{ ContainerSize: 's1', AtMostOnce: true },
  })
  const watch = await watchEnds()
  try {
    const accepted: Accepted[] = []
    let isOver = false
    const callers = Array.from({ length: CALLERS }, (_, at) =>
      callOn(`caller ${at}`, [many, onlyOnce], () => isOver, accepted),
    )
    for (let fault = 0; fault < FAULTS; fault += 1) {
      await pause(FAULT_PAUSE_MS)
      await doFault(random.below(6))
    }
    isOver = true
    await Promise.all(callers)
    console.log(`seed ${seed}: ${accepted.length} calls accepted`)
    assert.ok(accepted.length > 20, 'calls were accepted between the faults')
    const ends = await Promise.all(accepted.map((call) => check(call, onlyOnce)))
    const finished = ends.filter((end) => end === 'finished').length
    console.log(`seed ${seed}: ${finished} finished, ${ends.length - finished} lost at most once`)
    for (const { func, id } of accepted) {
      if (func === onlyOnce) assert.ok((watch.ends.get(id) ?? 0) <= 1, `${id} ran twice`)
    }
    for (const func of [many, onlyOnce]) {
      await eventually(async () => {
        const answer = await fetch(`${context.endpoint}/status/${func.path}`)
        const { Pending, Running } = (await answer.json()) as Record<string, number>
        return Pending === 0 && Running === 0
      }, END_MS)
    }
    assert.ok(watch.ends.size > 1, 'the ends of calls were seen')
    const list = async (): Promise<{ running: number; ready: number }[]> =>
      (await api(context, 'GET', '/agents')).json() as Promise<{ running: number; ready: number }[]>
    // Nothing is left but what stands ready.
    await eventually(async () => {
      const ready = (await list()).reduce((sum, agent) => sum + agent.ready, 0)
      return (await watch.left()) === ready
    }, END_MS)
    const agents = await list()
    assert.deepEqual(
      agents.map(({ running }) => running),
      [0, 0],
    )
  } catch (error) {
    throw new Error(`seed ${seed} (SEED=${seed} repeats the order of faults)`, { cause: error })
  } finally {
    watch.stop()
  }
})
