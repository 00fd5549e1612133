/** `hyper up`: order of start and stop, restarts, with daemons that only say what happens to them. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ended } from '../support/deployment.ts'
import { eventually } from '../support/eventually.ts'

const UP = new URL('../../cli/up.ts', import.meta.url).pathname

/** Notes its life in a file; drains for a moment, so that the order of ends is seen. */
const DAEMON = `
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
const kind = basename(process.argv[1], '.mjs')
process.once('message', ({ config }) => {
  const note = (what) => appendFileSync(config.home + '.events', JSON.stringify({ kind, what, pid: process.pid, ticket: config.ticket, port: config.listenPort }) + '\\n')
  if (process.env.STUB_FAIL === kind) {
    process.send({ type: 'failed', code: 'STATE_IN_USE', message: 'it is in use. Stop the other process, or set another HYPER_HOME.' }, () => process.exit(1))
    return
  }
  const refusal = config.home + '.' + kind + '.refuse'
  if (existsSync(refusal)) {
    process.send({ type: 'failed', code: readFileSync(refusal, 'utf8'), message: 'no way' }, () => process.exit(1))
    return
  }
  process.on('SIGUSR2', () => process.send({ type: 'failed', code: 'NOT_A_MEMBER', message: 'sent away' }, () => process.exit(1)))
  process.on('SIGTERM', () => {
    note('draining')
    setTimeout(() => { note('ended'); process.exit(0) }, 50)
  })
  process.on('disconnect', () => process.exit(0))
  note('started')
  process.send({ type: 'ready', url: 'http://stub', peerId: 'P', listen: '127.0.0.1:4711', mesh: ['/ip4/127.0.0.1/tcp/4712'] })
})
`

/** Runs runUp with the stub daemons and a client that only invites. */
const RUNNER = `
import { runUp } from ${JSON.stringify(UP)}
const home = process.argv[2]
const base = { drainMs: 1000, logFormat: 'json' }
let invited = 0
try {
  const exitCode = await runUp({
    coordinator: { ...base, home: home + '/all', listenPort: 0, mesh: ['/ip4/127.0.0.1/tcp/0'] },
    agents: [{ ...base, home: home + '/all', ticket: null }],
    programs: { coordinator: home + '/coordinator.mjs', agent: home + '/agent.mjs' },
    connect: async () => ({ invite: async () => ({ ticket: 'ticket-' + ++invited }) }),
    greet: async () => console.log('greeted'),
    note: (line) => console.error(line),
  })
  process.exit(exitCode)
} catch (error) {
  console.error('failed: ' + error.line)
  process.exit(1)
}
`

interface Event {
  readonly kind: string
  readonly what: string
  readonly pid: number
  readonly ticket?: string | null
  readonly port?: number
}

const startUp = async (t: TestContext, env: Readonly<Record<string, string>> = {}) => {
  const home = await mkdtemp(join(tmpdir(), 'hyper-up-'))
  await mkdir(home, { recursive: true })
  await writeFile(join(home, 'coordinator.mjs'), DAEMON)
  await writeFile(join(home, 'agent.mjs'), DAEMON)
  const runner = join(home, 'runner.mts')
  await writeFile(runner, RUNNER)
  const child: ChildProcess = spawn(process.execPath, [runner, home], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const printed: string[] = []
  child.stdout?.on('data', (chunk: Buffer) => printed.push(chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => printed.push(chunk.toString()))
  t.after(async () => {
    child.kill('SIGKILL')
    await ended(child)
    await rm(home, { recursive: true, force: true })
  })
  const output = (): string => printed.join('')
  const events = async (): Promise<Event[]> =>
    (await readFile(join(home, 'all.events'), 'utf8').catch(() => ''))
      .split('\n')
      .filter((text) => text !== '')
      .map((text): Event => JSON.parse(text))
  const started = (kind: string) =>
    events().then((all) => all.filter((event) => event.kind === kind && event.what === 'started'))
  /** From now on a daemon of this kind refuses to start. */
  const refuse = (kind: string, code: string): Promise<void> =>
    writeFile(join(home, `all.${kind}.refuse`), code)
  return { child, output, events, started, refuse }
}

test('agents start after the coordinator and stop before it', async (t) => {
  const { child, output, events } = await startUp(t)
  await eventually(() => output().includes('greeted'), 10_000, output)
  child.kill('SIGTERM')
  assert.equal(await ended(child), 0)
  assert.deepEqual(
    (await events()).map(({ kind, what }) => `${kind} ${what}`),
    [
      ...['coordinator started', 'agent started', 'agent draining', 'agent ended'],
      ...['coordinator draining', 'coordinator ended'],
    ],
  )
})

test('a daemon that dies is started again, where it was and without a new invitation', async (t) => {
  const { child, output, started } = await startUp(t)
  await eventually(() => output().includes('greeted'), 10_000, output)
  const [agent] = await started('agent')
  const [coordinator] = await started('coordinator')
  assert.ok(agent !== undefined && coordinator !== undefined)
  assert.deepEqual([agent.ticket, coordinator.port], ['ticket-1', 0])
  process.kill(agent.pid, 'SIGKILL')
  process.kill(coordinator.pid, 'SIGKILL')
  const again = await eventually(async () => {
    const all = [...(await started('agent')), ...(await started('coordinator'))]
    return all.length === 4 && all
  })
  assert.equal(again[1]?.ticket, null)
  assert.equal(again[3]?.port, 4711)
  assert.match(output(), /The agent-1 died \(SIGKILL\); starting it again in 0\.2 s\./)
  child.kill('SIGINT')
  assert.equal(await ended(child), 0)
})

test('a restart that fails says why in one line each time, with the pause, and is tried on', async (t) => {
  const { child, output, started, refuse } = await startUp(t)
  await eventually(() => output().includes('greeted'), 10_000, output)
  const [agent] = await started('agent')
  const [coordinator] = await started('coordinator')
  assert.ok(agent !== undefined && coordinator !== undefined)
  await refuse('coordinator', 'ADDRESS_IN_USE')
  await refuse('agent', 'STOPPING')
  process.kill(coordinator.pid, 'SIGKILL')
  process.kill(agent.pid, 'SIGUSR2')
  const wanted = [
    'The agent-1 ended: sent away. Join with a ticket: `hyper invite` on the coordinator prints one (this does not go away by itself); starting it again in 0.2 s.',
    'The agent-1 did not start: no way. Try again in a moment; starting it again in 0.4 s.',
    'The coordinator died (SIGKILL); starting it again in 0.2 s.',
    'The coordinator did not start: no way. Stop the other process, or choose another address (this does not go away by itself); starting it again in 0.4 s.',
    'The coordinator did not start: no way. Stop the other process, or choose another address (this does not go away by itself); starting it again in 0.8 s.',
  ]
  await eventually(() => wanted.every((line) => output().includes(`${line}\n`)), 10_000, output)
  const told = output()
    .split('\n')
    .filter((line) => line.includes('coordinator'))
  assert.ok(
    told.every((line) => line.endsWith(' s.')),
    output(),
  )
  child.kill('SIGTERM')
  assert.equal(await ended(child), 0)
})

test('a start that fails says why, and leaves nothing running', async (t) => {
  const { child, output, events } = await startUp(t, { STUB_FAIL: 'agent' })
  assert.equal(await ended(child), 1)
  assert.match(
    output(),
    /failed: it is in use\. Stop the other process, or set another HYPER_HOME\./,
  )
  assert.equal((await events()).at(-1)?.what, 'ended')
})

test('daemons end by themselves when the one who started them is killed', async (t) => {
  const { child, output, events } = await startUp(t)
  await eventually(() => output().includes('greeted'), 10_000, output)
  const pids = (await events()).map(({ pid }) => pid)
  child.kill('SIGKILL')
  await ended(child)
  const isGone = (pid: number): boolean => {
    try {
      return !process.kill(pid, 0)
    } catch {
      return true
    }
  }
  await eventually(() => pids.every(isGone))
})
