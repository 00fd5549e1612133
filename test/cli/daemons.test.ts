/** What passes between `hyper` and its daemons: tickets, the environment, and how they end. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { limits } from '../../protocol/limits.ts'
import { runHyper } from '../support/deployment.ts'

const moduleUrl = (name: string): string => new URL(`../../${name}`, import.meta.url).href

const folderFor = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'hyper-daemons-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const runModule = (source: string, options: { input?: string; env?: NodeJS.ProcessEnv } = {}) =>
  spawnSync(process.execPath, ['--input-type=module', '-e', source], {
    encoding: 'utf8',
    input: options.input ?? '',
    env: { ...process.env, ...options.env },
    timeout: 30_000,
  })

/** Runs `hyper agent`'s foreground with a stub in the daemon's place. */
const runForeground = async (t: TestContext, daemon: string, env: NodeJS.ProcessEnv = {}) => {
  const program = join(await folderFor(t), 'daemon.mjs')
  await writeFile(program, `process.once('message', () => {${daemon}\n})`)
  return runModule(
    `import { runForeground } from ${JSON.stringify(moduleUrl('cli/foreground.ts'))}
     const start = {
       program: ${JSON.stringify(program)}, config: { drainMs: 1000 }, name: 'agent',
       onProgress: (line) => console.error(line),
     }
     try {
       process.exitCode = await runForeground(start, () => console.log('ready'))
     } catch (error) {
       console.error(error.code + ': ' + error.line)
       process.exitCode = 9
     }`,
    { env },
  )
}

const READY = `process.send({ type: 'ready', url: '', peerId: 'P', listen: '', mesh: [] })`

test('a ticket comes as an argument, from STDIN or from a file', async (t) => {
  const file = join(await folderFor(t), 'ticket')
  await writeFile(file, 'from-file\n')
  const read = (given: string, input = ''): string => {
    const { stdout, stderr } = runModule(
      `import { readTicket } from ${JSON.stringify(moduleUrl('cli/secret.ts'))}
       try { console.log(await readTicket(${JSON.stringify(given)})) } catch (e) { console.log(e.line) }`,
      { input },
    )
    return stdout + stderr
  }
  assert.equal(read(' as-argument '), 'as-argument\n')
  assert.equal(read('-', '\n from-stdin \n'), 'from-stdin\n')
  assert.equal(read(`@${file}`), 'from-file\n')
  assert.equal(read('-'), 'no ticket was given\n')
  assert.match(read(`@${file}.none`), /^the ticket cannot be read from .*ticket\.none: ENOENT/)
  assert.equal(read('@/dev/zero'), 'the ticket is too long\n')
  assert.equal(read('-', 'x'.repeat(limits.ticketTextCharsMax + 1)), 'the ticket is too long\n')
})

test('the file of a ticket that was used may be gone: that is said, and null', async (t) => {
  const file = join(await folderFor(t), 'ticket')
  const read = (): string => {
    const { stdout, stderr } = runModule(
      `import { readTicketIfThere } from ${JSON.stringify(moduleUrl('cli/secret.ts'))}
       console.log(await readTicketIfThere(${JSON.stringify(`@${file}`)}, (line) => console.log(line)))`,
    )
    return stdout + stderr
  }
  assert.match(
    read(),
    /^There is no ticket at .*ticket: only an agent that has joined[^\n]*\nnull\n$/,
  )
  await writeFile(file, 'from-file\n')
  assert.equal(read(), 'from-file\n')
})

test('`agent --join -` and `join @FILE` reach for STDIN and the file', async (t) => {
  const home = join(await folderFor(t), 'home')
  const [stdin, file] = await Promise.all([
    runHyper(['agent', '--join', '-'], { home, input: '\n' }),
    runHyper(['join', '@/nonexistent'], { home }),
  ])
  assert.deepEqual([stdin.code, stdin.stderr], [2, 'hyper: no ticket was given\n'])
  assert.equal(file.code, 2)
  assert.match(file.stderr, /cannot be read from \/nonexistent/)
})

test('the user’s token and keys do not reach a daemon; the rest of the environment does', async (t) => {
  const { stdout, stderr, status } = await runForeground(
    t,
    `const names = Object.keys(process.env).filter((name) => /^HYPER_/.test(name)).sort()
     process.stderr.write(names.join() + '\\n', () => process.exit(0))`,
    { HYPER_TOKEN: 't', HYPER_ACCESS: 'a', HYPER_SECRET: 's', HYPER_LISTEN: 'l', HYPER_MESH: 'm' },
  )
  const names = stderr.split('\n')[0]?.split(',') ?? []
  assert.equal(stdout, '')
  assert.equal(status, 9)
  assert.ok(names.includes('HYPER_LISTEN') && names.includes('HYPER_MESH'), stderr)
  assert.deepEqual(
    names.filter((name) => ['HYPER_TOKEN', 'HYPER_ACCESS', 'HYPER_SECRET'].includes(name)),
    [],
  )
})

test('a daemon that serves and then fails is told with its own reason', async (t) => {
  const { stdout, stderr, status } = await runForeground(
    t,
    `${READY}
     process.send({ type: 'failed', code: 'NOT_A_MEMBER', message: 'sent away' }, () => process.exit(1))`,
  )
  assert.equal(stdout, 'ready\n')
  assert.match(stderr, /^NOT_A_MEMBER: sent away\. Join with a ticket/)
  assert.equal(status, 9)
})

test('a daemon says that it is ready when it serves, and can be stopped before', async (t) => {
  const daemonOf = (serving: string): string =>
    `import(${JSON.stringify(moduleUrl('daemon/lifecycle.ts'))}).then(({ runDaemon }) => {
       runDaemon((config) => config, async () => ({
         ready: { url: '', peerId: 'P', listen: '', mesh: [] }, serving: ${serving},
         log: { info() {} }, ended: new Promise(() => undefined), stop: async () => undefined,
       }))
       process.emit('message', { type: 'configure', config: {} })
       setTimeout(() => process.kill(process.ppid, 'SIGTERM'), 200)
     })`
  const waiting = await runForeground(t, daemonOf('new Promise(() => undefined)'))
  assert.deepEqual([waiting.stdout, waiting.status], ['', 0], waiting.stderr)
  const serving = await runForeground(t, daemonOf('Promise.resolve()'))
  assert.deepEqual([serving.stdout, serving.status], ['ready\n', 0], serving.stderr)
})

test('a daemon that ends by itself and says nothing is told by its exit status', async (t) => {
  const failed = await runForeground(t, `${READY}; setTimeout(() => process.exit(1), 50)`)
  assert.equal(failed.stderr, 'The agent has ended by itself (exit status 1).\n')
  assert.equal(failed.status, 1)
  const left = await runForeground(t, `${READY}; setTimeout(() => process.exit(0), 50)`)
  assert.equal(left.stderr, 'The agent has ended by itself (exit status 0).\n')
  assert.equal(left.status, 0)
})
