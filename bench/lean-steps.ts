/** What the bench of the OCI runner does with product, engine and host. */

import { readdir, readFile, readlink } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import type { Deployment } from '../test/support/deployment.ts'
import { eventually } from '../test/support/eventually.ts'
import { createFunc, type TestFunc } from '../test/support/functions.ts'
import type { Bench } from './deployed.ts'
import { saturated } from './latency-steps.ts'

const CALLERS = 4
const GROUND_MS = 30_000
/** Refills and removals are over by then. */
const QUIET_MS = 3000
const TICK_MS = 10
const GONE_MS = 30_000
const STILL_MS = 1000
const ECHO = ['echo', 'hello']

/** Of all processors since the start of the machine. */
const busyMs = async (): Promise<number> => {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n')
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line
    .split(/\s+/)
    .slice(1)
    .map(Number)
  return (user + nice + system + irq + softirq) * TICK_MS
}

interface Rate {
  readonly perSecond: number
  /** Of the whole machine, a call. */
  readonly cpuMs: number
}

const rateOf = async (act: () => Promise<number>): Promise<Rate> => {
  const [before, start] = [await busyMs(), performance.now()]
  const perSecond = await act()
  const calls = (perSecond * (performance.now() - start)) / 1000
  return { perSecond, cpuMs: ((await busyMs()) - before) / calls }
}

const bestOf = (rates: readonly Rate[]): Rate =>
  rates.reduce((best, rate) => (rate.perSecond > best.perSecond ? rate : best))

/** A caller that costs the machine little: it must not be what is measured. */
const createCaller = ({ context }: Deployment, func: TestFunc) => {
  const agent = new Agent({ keepAlive: true })
  const url = new URL(`/call/${func.path}/sync`, context.endpoint)
  return {
    call: (body: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const asked = request(url, { method: 'POST', agent }, (response) => {
          let said = ''
          response.setEncoding('utf8')
          response.on('data', (chunk: string) => {
            said += chunk
          })
          response.on('end', () => {
            if (response.statusCode === 200) resolve(said)
            else reject(new Error(`the call answered ${response.statusCode}: ${said}`))
          })
        })
        asked.on('error', reject)
        asked.end(body)
      }),
    close: () => agent.destroy(),
  }
}

const meanOf = (a: Rate, b: Rate): Rate => ({
  perSecond: (a.perSecond + b.perSecond) / 2,
  cpuMs: (a.cpuMs + b.cpuMs) / 2,
})

/**
 * The engine's best, with 4 or 8 callers, each measured before and after the product's minute: the mean
 * of the two, because the machine's own speed moves meanwhile.
 */
export const saturatedBeside = async (bench: Bench, func: TestFunc, forMs: number) => {
  const ground = async (): Promise<readonly [Rate, Rate]> => {
    // What was put off by the calls before is over then.
    await pause(QUIET_MS)
    return [
      await rateOf(() => bench.raw.best(ECHO, CALLERS, GROUND_MS)),
      await rateOf(() => bench.raw.best(ECHO, 2 * CALLERS, GROUND_MS)),
    ]
  }
  const before = await ground()
  let memoryGrowth = Number.NaN
  const caller = createCaller(bench.deployment, func)
  const call = async (): Promise<void> => {
    const said = await caller.call('')
    if (said !== 'hello\n') throw new Error(`it said ${JSON.stringify(said)}`)
  }
  const product = await rateOf(async () => {
    const minute = await saturated(bench, call, CALLERS, forMs)
    memoryGrowth = minute.memoryGrowth
    return minute.perSecond
  }).finally(caller.close)
  const after = await ground()
  const engine = bestOf([meanOf(before[0], after[0]), meanOf(before[1], after[1])])
  const highest = bestOf([...before, ...after])
  return { engine, highest, product, memoryGrowth }
}

/** Calls a second of so many at once. */
export const burst = async (
  { deployment }: Bench,
  func: TestFunc,
  count: number,
): Promise<number> => {
  const caller = createCaller(deployment, func)
  try {
    const start = performance.now()
    await Promise.all(Array.from({ length: count }, () => caller.call('')))
    return count / ((performance.now() - start) / 1000)
  } finally {
    caller.close()
  }
}

/** Calls with words of their own; throws at the first that gets other ones back. Calls a second. */
export const callMany = async (deployment: Deployment, count: number): Promise<number> => {
  const func = await createFunc(deployment.context, 'cat', 'ubuntu', ['cat'])
  const caller = createCaller(deployment, func)
  let next = 0
  const work = async (): Promise<void> => {
    while (next < count) {
      const words = `call ${next}\n`
      next += 1
      const said = await caller.call(words)
      if (said !== words) throw new Error(`${words.trim()} was answered ${JSON.stringify(said)}`)
    }
  }
  try {
    const start = performance.now()
    await Promise.all(Array.from({ length: CALLERS }, work))
    return count / ((performance.now() - start) / 1000)
  } finally {
    caller.close()
  }
}

/** What containers are made of, as the host has it now. */
const countHost = async (): Promise<Record<string, number>> => {
  const lines = (text: string): number => text.split('\n').filter((line) => line !== '').length
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const namespaces = new Set<string>()
  let keepers = 0
  for (const pid of pids) {
    for (const kind of ['net', 'mnt', 'pid', 'ipc', 'uts']) {
      const name = await readlink(`/proc/${pid}/ns/${kind}`).catch(() => '')
      if (name !== '') namespaces.add(name)
    }
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (/\/hyper-(keeper|init)\0/.test(command)) keepers += 1
  }
  const cgroups = await readdir('/sys/fs/cgroup', { recursive: true }).catch(() => [])
  const interfaces = await readFile('/proc/net/dev', 'utf8')
  return {
    mounts: lines(await readFile('/proc/self/mountinfo', 'utf8')),
    namespaces: namespaces.size,
    cgroups: cgroups.filter((path) => /(^|\/)hyper-[^/]+$|\/oci-[0-9a-f]+$/.test(path)).length,
    keepers,
    interfaces: lines(interfaces),
  }
}

/** Once it stays the same: the kernel takes namespaces away in its own time. */
export const onTheHost = async (): Promise<Record<string, number>> => {
  let before = ''
  return eventually(async () => {
    const now = await countHost()
    const text = JSON.stringify(now)
    const isSame = text === before
    before = text
    if (!isSame) await pause(STILL_MS)
    return isSame ? now : undefined
  }, GONE_MS)
}
