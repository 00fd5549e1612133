/** `hyper backup` of a coordinator under load, and the coordinator that `hyper restore` makes of it. */

import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { FuncAddress } from '../../client/client.ts'
import { startTestCoordinator, type TestCoordinator } from '../support/coordinator.ts'
import { type CommandResult, ended, runHyper } from '../support/deployment.ts'
import { eventually } from '../support/eventually.ts'
import { IMAGE } from '../support/fake-ports.ts'
import { idOf } from '../support/mesh.ts'
import { playAgent } from '../support/played-agent.ts'

const RESTORE = new URL('../../coordinator/restore-main.ts', import.meta.url).pathname

const newFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'restore-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Small ones in rows, large ones in files; no two the same. */
const payloadOf = (n: number): Buffer => Buffer.alloc(n % 5 === 0 ? 40_000 : 300, `call ${n} `)

const hyperBeside =
  (folder: string, { url, token }: TestCoordinator) =>
  (...args: string[]): Promise<CommandResult> =>
    runHyper(args, { home: folder, env: { HYPER_ENDPOINT: url, HYPER_TOKEN: token } })

/** Starts a restore, and ends it when it has begun to write. */
const interrupt = async (home: string, file: string, signal: NodeJS.Signals): Promise<void> => {
  const child: ChildProcess = fork(RESTORE, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  const begun = new Promise((resolve) => child.once('message', resolve))
  child.send({ type: 'configure', config: { home, backupPath: file, logFormat: 'json' } })
  await begun
  child.kill(signal)
  await ended(child)
}

/** Calls one after the other until it is told to stop; those whose CallId was answered. */
const keepCalling = ({ client }: TestCoordinator, func: FuncAddress) => {
  const accepted: string[] = []
  let isStopping = false
  const work = async (): Promise<void> => {
    while (!isStopping) {
      const n = accepted.length
      accepted.push(await client.calls.start(func, { payload: payloadOf(n) }))
    }
  }
  const working = work()
  return {
    accepted,
    async stop(): Promise<void> {
      isStopping = true
      await working
    },
  }
}

test('a coordinator restored elsewhere has every call, and the one it was made of is fenced', async (t) => {
  const [oldFolder, newHome] = [await newFolder(t), await newFolder(t)]
  const old = await startTestCoordinator(t, oldFolder)
  const key = await old.enrol()
  const agent = await playAgent(t, old, key)
  const func = await old.client.funcs.create({ Name: 'f', Config: { Image: IMAGE.reference } })
  const config = { Image: IMAGE.reference }
  const once = await old.client.funcs.create({ Name: 'g', Config: config, AtMostOnce: true })
  const load = keepCalling(old, func)
  await eventually(() => load.accepted.length > 60)
  // What runs and what waits is in it, too.
  await agent.close()
  const onceId = await old.client.calls.start(once)
  const before = load.accepted.length
  await eventually(() => load.accepted.length > before + 40)
  const acknowledged = [...load.accepted]
  const file = join(oldFolder, 'backup')
  const made = await hyperBeside(oldFolder, old)('backup', '--json', file)
  assert.equal(made.code, 0, made.stderr)
  await load.stop()
  const restored = await runHyper(['restore', '--json', file], { home: newHome })
  assert.equal(restored.code, 0, restored.stderr)
  const report: { made: string; epoch: number; bodies: number } = JSON.parse(`${restored.stdout}`)
  assert.equal(report.bodies, JSON.parse(`${made.stdout}`).bodies)

  const copy = await startTestCoordinator(t, newHome)
  assert.equal(copy.peerId, old.peerId)
  assert.equal(copy.token, old.token)
  const mine = agent.answer.type === 'welcome' ? agent.answer.epoch : 0
  const moved = await playAgent(t, copy, key, { epochSeen: mine })
  assert.ok(moved.answer.type === 'welcome' && moved.answer.epoch > Math.max(mine, report.epoch))
  for (const [n, callId] of acknowledged.entries()) {
    const answer = await copy.client.calls.output(func, callId, { wait: true })
    assert.ok(answer.state === 'finished', `call ${n} of ${acknowledged.length}`)
    assert.deepEqual(Buffer.concat(await answer.body.toArray()), payloadOf(n))
  }
  assert.deepEqual([...moved.epochs], [moved.answer.epoch])
  const ended = await copy.client.calls.output(once, onceId)
  assert.ok(ended.state === 'failed', 'it may have run since, and is not started twice')
  assert.equal(ended.error.code, 'AGENT_LOST')

  const back = await playAgent(t, old, key, { epochSeen: moved.answer.epoch })
  assert.partialDeepStrictEqual(back.answer, { type: 'goodbye', code: 'EPOCH_AHEAD' })
  const [shown] = await old.client.agents.list()
  assert.deepEqual([shown?.peerId, shown?.state], [idOf(key), 'epoch ahead'])
})

test('a backup file is private, replaces the former one only when it is whole, and is bytes', async (t) => {
  const folder = await newFolder(t)
  const coordinator = await startTestCoordinator(t, folder)
  const hyper = hyperBeside(folder, coordinator)
  const file = join(folder, 'backup')
  await writeFile(file, 'the former one', { mode: 0o644 })
  const quiet = await hyper('backup', '-q', file)
  assert.deepEqual([quiet.code, `${quiet.stdout}`], [0, `${file}\n`])
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  const piped = await hyper('backup', '-')
  assert.equal(piped.code, 0)
  assert.equal(piped.stdout.subarray(0, 8).toString(), 'HYPERBAK')
  assert.match(piped.stderr, /^Backed up \d+ rows/)
  const said = await hyper('backup', file)
  assert.match(`${said.stdout}`, /backup has \d+ rows and 0 bodies as of /)
  const bytes = await readFile(file)
  const wrong = await runHyper(['backup', file], {
    ...{ home: folder, env: { HYPER_ENDPOINT: coordinator.url, HYPER_TOKEN: 'wrong' } },
  })
  assert.equal(wrong.code, 4)
  await coordinator.stop()
  assert.equal((await hyper('backup', file)).code, 5)
  assert.deepEqual(await readFile(file), bytes)
  assert.equal((await hyper('backup', join(folder, 'no', 'such', 'folder'))).code, 5)
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith('backup')),
    ['backup'],
  )
})

test('only the operator gets a backup', async (t) => {
  const folder = await newFolder(t)
  const { client, url } = await startTestCoordinator(t, folder)
  const { token } = await client.accounts.create('alice')
  const status = async (headers: Record<string, string>) =>
    (await fetch(`${url}/backup`, { headers })).status
  assert.equal(await status({ authorization: `Bearer ${token}` }), 403)
  assert.equal(await status({}), 401)
})

test('hyper restore says why not, in one line, and leaves nothing', async (t) => {
  const folder = await newFolder(t)
  const restore = (file: string, home = folder) => runHyper(['restore', file], { home })
  const missing = await restore(join(folder, 'none'))
  assert.deepEqual([missing.code, `${missing.stdout}`], [1, ''])
  assert.match(missing.stderr, /^hyper: there is no file .*none\. Give a file/)
  const foreign = join(folder, 'foreign')
  await writeFile(foreign, 'something else')
  const refused = await restore(foreign)
  assert.match(refused.stderr, /^hyper: .*foreign is no backup of a coordinator\. Give a file/)
  assert.equal(refused.stderr.trim().split('\n').length, 1)
  const taken = await newFolder(t)
  await mkdir(join(taken, 'coordinator'))
  await writeFile(join(taken, 'coordinator', 'x'), '')
  assert.match((await restore(foreign, taken)).stderr, /Set another HYPER_HOME/)
  assert.deepEqual(await readdir(folder), ['foreign'])
})

test('a restore that is killed leaves nothing that starts, and can be made again', async (t) => {
  const folder = await newFolder(t)
  const source = await startTestCoordinator(t, folder)
  const key = await source.enrol()
  await playAgent(t, source, key)
  const func = await source.client.funcs.create({ Name: 'f', Config: { Image: IMAGE.reference } })
  for (let n = 0; n < 20; n += 1) {
    await source.client.calls.start(func, { payload: randomBytes(2 ** 20) })
  }
  const file = join(folder, 'backup')
  assert.equal((await hyperBeside(folder, source)('backup', file)).code, 0)
  await source.stop()
  const target = await newFolder(t)
  const home = join(target, 'coordinator')
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    // One that is done before the signal comes is whole, and proves nothing here.
    await eventually(async () => {
      await interrupt(home, file, signal)
      const isWhole = (await readdir(target)).includes('coordinator')
      await rm(home, { recursive: true, force: true })
      return !isWhole
    }, 60_000)
  }
  const restored = await runHyper(['restore', '-q', file], { home: target })
  assert.deepEqual([restored.code, `${restored.stdout}`], [0, `${home}\n`])
  assert.deepEqual(await readdir(target), ['coordinator'])
  const copy = await startTestCoordinator(t, target)
  assert.equal((await copy.client.funcs.get('f')).UUID, func.UUID)
})
