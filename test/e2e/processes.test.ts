/** Daemons as processes: they die, are started again, share a machine, are refused, and stop. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { SIZES } from '../../protocol/func.ts'
import {
  type Deployment,
  ended,
  isReady,
  newHome,
  readContext,
  runHyper,
  startDeployment,
  startHyper,
} from '../support/deployment.ts'
import { eventually } from '../support/eventually.ts'
import { api, callAsync, callSync, createFunc, waitOutput } from '../support/functions.ts'

let deployment: Deployment

before(async () => {
  deployment = await startDeployment(['--agents', '2'])
})
after(() => deployment.stop())

/** Processes below `pid` whose command line has `part`. */
const childrenOf = (pid: number, part: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const parent = Number(
          /\nPPid:\t(\d+)/.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1],
        )
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8')
        return parent === pid && command.includes(part) ? [Number(name)] : []
      } catch {
        return []
      }
    })

interface AgentRow {
  readonly agent: string
  readonly state: string
  readonly reason: string
  readonly member: boolean
  readonly running: number
  readonly memoryBytes: number
}
const listAgents = async (): Promise<AgentRow[]> =>
  (await (await api(deployment.context, 'GET', '/agents')).json()) as AgentRow[]

const readyAgents = async (count: number): Promise<boolean> =>
  (await listAgents().catch(() => [])).filter(
    ({ state, reason }) => state === 'alive' && reason === '',
  ).length === count

test('two agents on one machine both work', async () => {
  await eventually(() => readyAgents(2))
  // One of the largest that fit is more than half an agent, so that one agent cannot take them all.
  const memory = Math.min(...(await listAgents()).map(({ memoryBytes }) => memoryBytes))
  const fitting = Object.entries(SIZES).filter(([, size]) => size.memoryBytes <= memory)
  const [name = '', { memoryBytes } = SIZES.s1] = fitting.at(-1) ?? []
  const count = Math.floor(memory / memoryBytes) + 1
  // Long enough to be seen in a list that a loaded machine takes seconds to give.
  const func = await createFunc(deployment.context, 'nap', 'ubuntu', ['sh', '-c', 'sleep 5; cat'], {
    ContainerSize: name,
  })
  const ids = await Promise.all(
    Array.from({ length: count }, (_, number) => callAsync(deployment.context, func, `${number}`)),
  )
  await eventually(async () => (await listAgents()).every(({ running }) => running > 0), 30_000)
  for (const [number, id] of ids.entries()) {
    assert.equal(await (await waitOutput(deployment.context, func, id)).text(), `${number}`)
  }
})

test('an agent that is killed is started again, and its running call still ends', async () => {
  const func = await createFunc(deployment.context, 'slow', 'ubuntu', [
    'sh',
    '-c',
    'sleep 3; echo done',
  ])
  const id = await callAsync(deployment.context, func)
  await eventually(async () => (await listAgents()).some(({ running }) => running > 0))
  const upPid = deployment.up.pid ?? 0
  const agents = childrenOf(upPid, 'agent/main')
  assert.equal(agents.length, 2)
  for (const pid of agents) process.kill(pid, 'SIGKILL')
  assert.equal(await (await waitOutput(deployment.context, func, id)).text(), 'done\n')
  await eventually(() => readyAgents(2), 20_000)
  assert.equal(childrenOf(upPid, 'agent/main').length, 2)
})

test('a coordinator that is killed comes back with queue and results', async () => {
  const { context } = deployment
  const func = await createFunc(context, 'steady', 'ubuntu', ['sh', '-c', 'sleep 2; cat'])
  const ids = await Promise.all(
    Array.from({ length: 12 }, (_, number) => callAsync(context, func, `call ${number}`)),
  )
  const [pid = 0] = childrenOf(deployment.up.pid ?? 0, 'coordinator/main')
  process.kill(pid, 'SIGKILL')
  await eventually(() => isReady(context.endpoint), 20_000)
  for (const [number, id] of ids.entries()) {
    assert.equal(await (await waitOutput(context, func, id)).text(), `call ${number}`)
  }
})

test('a state folder in use is refused, by name and with what to do', async () => {
  const { code, stderr } = await runHyper(
    ['coordinator', '--listen', '127.0.0.1:0', '--mesh', '/ip4/127.0.0.1/tcp/0'],
    { home: deployment.home },
  )
  assert.equal(code, 1)
  assert.match(stderr, /in use by another process.*HYPER_HOME/)
})

test('an address in use is refused, by name', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const home = await newHome()
  try {
    const args = ['coordinator', '--listen', `127.0.0.1:${port}`, '--mesh', '/ip4/127.0.0.1/tcp/0']
    const { code, stderr } = await runHyper(args, { home })
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`${port}`))
  } finally {
    server.close()
    await rm(home, { recursive: true, force: true })
  }
})

test('an agent joins with a ticket, a spent or damaged ticket is refused', async () => {
  const invited = await deployment.hyper(['--json', 'invite'])
  const { ticket } = JSON.parse(invited.stdout.toString()) as { ticket: string }
  const home = await newHome()
  try {
    const { child, output } = startHyper(['agent', '--join', ticket, '--slots', '1'], home)
    await eventually(() => readyAgents(3), 20_000, output)
    child.kill('SIGTERM')
    assert.equal(await ended(child), 0)

    const other = await newHome()
    const spent = await runHyper(['agent', '--join', ticket], { home: other })
    assert.equal(spent.code, 4, spent.stderr)
    assert.match(spent.stderr, /ticket is spent.*hyper invite/)
    const wrong = `${ticket.slice(0, -1)}${ticket.endsWith('x') ? 'y' : 'x'}`
    const damaged = await runHyper(['agent', '--join', wrong], { home: other })
    assert.equal(damaged.code, 2, damaged.stderr)
    assert.match(damaged.stderr, /ticket/)
    await rm(other, { recursive: true, force: true })
  } finally {
    await rm(home, { recursive: true, force: true })
  }
})

test('an agent that joined ad hoc leaves when it is told to stop', async () => {
  const invited = await deployment.hyper(['--json', 'invite'])
  const { ticket } = JSON.parse(invited.stdout.toString()) as { ticket: string }
  const before = (await listAgents()).filter(({ member }) => member).length
  const home = await newHome()
  try {
    const { child, output } = startHyper(['join', ticket, '--slots', '1'], home)
    await eventually(() => readyAgents(3), 20_000, output)
    child.kill('SIGINT')
    assert.ok([0, 130].includes(await ended(child)))
    await eventually(
      async () => (await listAgents()).filter(({ member }) => member).length === before,
    )
  } finally {
    await rm(home, { recursive: true, force: true })
  }
})

test('a coordinator without agents says so, and a call waits for one', async () => {
  const home = await newHome()
  const { child, output } = startHyper(
    ['coordinator', '--listen', '127.0.0.1:0', '--mesh', '/ip4/127.0.0.1/tcp/0'],
    home,
  )
  try {
    const context = await eventually(() => readContext(home).catch(() => undefined), 20_000, output)
    assert.equal(await isReady(context.endpoint), false)
    const create = await runHyper(['func', 'create', '--name', 'x', 'ubuntu', 'true'], { home })
    assert.equal(create.code, 1)
    assert.match(create.stderr, /no agent.*hyper/)
  } finally {
    child.kill('SIGTERM')
    assert.equal(await ended(child), 0)
    await rm(home, { recursive: true, force: true })
  }
})

test('an agent without an engine takes no calls and says why', async () => {
  const home = await newHome()
  const invited = await deployment.hyper(['--json', 'invite'])
  const { ticket } = JSON.parse(invited.stdout.toString()) as { ticket: string }
  const { child, output } = startHyper(['agent', '--join', ticket], home, {
    DOCKER_HOST: `unix://${home}/no.sock`,
  })
  try {
    await eventually(
      async () => (await listAgents()).some(({ reason }) => reason.startsWith('no engine')),
      20_000,
      output,
    )
    assert.match(output(), /engine/)
  } finally {
    child.kill('SIGTERM')
    await ended(child)
    await rm(home, { recursive: true, force: true })
  }
})

test('stopping ends every process and leaves no container', async () => {
  const extra = await startDeployment()
  const func = await createFunc(extra.context, 'once', 'hyper-func/hello', ['/hello'])
  assert.equal((await callSync(extra.context, func, 'you')).status, 200)
  const pids = childrenOf(extra.up.pid ?? 0, 'main')
  assert.equal(pids.length, 2)
  await extra.stop()
  for (const pid of pids) assert.throws(() => process.kill(pid, 0), `process ${pid} is left`)
  const listed = execFileSync('curl', [
    '-s',
    '--unix-socket',
    process.env.HYPER_TEST_DOCKER_SOCKET ?? '',
    'http://engine/containers/json?all=1',
  ])
  assert.ok(!listed.toString().includes('"once"'))
})
