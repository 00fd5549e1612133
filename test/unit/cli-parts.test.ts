/** The pure parts of the CLI: quantities, contexts, configurations, templates, output, imports. */

import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { chooseTarget, contextsPath, readContexts, writeContexts } from '../../cli/context.ts'
import { agentConfigOf, coordinatorConfigOf, parseListen } from '../../cli/daemon-config.ts'
import { readEnvironment } from '../../cli/environment.ts'
import { createFlags } from '../../cli/input.ts'
import { createOutput } from '../../cli/output.ts'
import { createTerminalProgress } from '../../cli/pull-progress.ts'
import {
  formatAgo,
  formatBytes,
  parseBytes,
  parseCount,
  parseDurationMs,
  parseSeconds,
} from '../../cli/quantity.ts'
import { fillTemplate } from '../../cli/template.ts'
import { configAgain } from '../../cli/up.ts'
import { parseAgentConfig, parseConfigure, parseCoordinatorConfig } from '../../protocol/daemon.ts'

const homeFor = async (t: TestContext): Promise<string> => {
  const home = await mkdtemp(join(tmpdir(), 'hyper-home-'))
  t.after(() => rm(home, { recursive: true, force: true }))
  return home
}

test('durations, sizes and counts are read as people write them', () => {
  const durations = { '1h': 3_600_000, '30s': 30_000, '500ms': 500, '1h30m': 5_400_000, '2': 2000 }
  for (const [text, ms] of Object.entries(durations)) assert.equal(parseDurationMs(text, ''), ms)
  for (const text of ['', '1y', 'h', '-1s', '1 h']) {
    assert.throws(() => parseDurationMs(text, '--x'), { code: 'BAD_PARAMETER' })
  }
  assert.equal(parseSeconds('5m', '', 300), 300)
  assert.throws(() => parseSeconds('1500ms', '', 300), { code: 'BAD_PARAMETER' })
  assert.throws(() => parseSeconds('2h', '--x', 3600), { message: '--x: 2h is longer than 1h' })
  assert.equal(parseBytes('512m', ''), 512 * 2 ** 20)
  assert.equal(parseBytes('1.5GiB', ''), 1.5 * 2 ** 30)
  for (const text of ['', '0', 'm', '-1g', '1x']) {
    assert.throws(() => parseBytes(text, ''), { code: 'BAD_PARAMETER' })
  }
  assert.equal(parseCount('0', ''), 0)
  assert.throws(() => parseCount('0', '--uses', { min: 1 }), /--uses/)
  assert.throws(() => parseCount('1e3', ''), { code: 'BAD_PARAMETER' })
})

test('times and sizes are shown in the words of docker’s tables', () => {
  const nowMs = Date.parse('2026-01-01T00:00:00Z')
  const ago = (seconds: number): string =>
    formatAgo(new Date(nowMs - seconds * 1000).toISOString(), nowMs)
  assert.equal(ago(16), '16 seconds ago')
  assert.equal(ago(61), 'About a minute ago')
  assert.equal(ago(3 * 3600), '3 hours ago')
  assert.equal(ago(5 * 86_400), '5 days ago')
  assert.equal(formatAgo(null, nowMs), 'never')
  assert.equal(formatBytes(512 * 2 ** 20), '512MiB')
  assert.equal(formatBytes(1.5 * 2 ** 30), '1.5GiB')
})

test('flag goes before environment, environment before file, file before default', async (t) => {
  const home = await homeFor(t)
  const environment = (env: NodeJS.ProcessEnv) => readEnvironment({ HYPER_HOME: home, ...env })
  assert.deepEqual(await chooseTarget(undefined, environment({})), {
    endpoint: 'http://127.0.0.1:7480',
  })
  await writeContexts(home, {
    current: 'far',
    contexts: {
      default: { endpoint: 'http://127.0.0.1:7480', token: 'near' },
      far: { endpoint: 'https://far.example', token: 'far' },
    },
  })
  const file = { endpoint: 'https://far.example', token: 'far' }
  assert.deepEqual(await chooseTarget(undefined, environment({})), file)
  const named = environment({ HYPER_FUNC_ENDPOINT: 'http://127.0.0.1:7480/' })
  assert.deepEqual(await chooseTarget(undefined, named), {
    endpoint: 'http://127.0.0.1:7480',
    token: 'near',
  })
  assert.deepEqual(await chooseTarget('https://far.example', named), file)
  assert.deepEqual(await chooseTarget('https://stranger.example', named), {
    endpoint: 'https://stranger.example',
  })
  const keys = environment({ HYPER_ACCESS: 'a', HYPER_SECRET: 's' })
  assert.deepEqual(await chooseTarget(undefined, keys), {
    endpoint: 'https://far.example',
    keys: { accessKey: 'a', secretKey: 's' },
  })
})

test('a file of tokens that others can read is refused', async (t) => {
  const home = await homeFor(t)
  await writeContexts(home, { current: '', contexts: {} })
  await chmod(contextsPath(home), 0o640)
  await assert.rejects(readContexts(home), /chmod 600/)
})

test('daemons are configured by flags, environment and defaults', () => {
  const flags = createFlags(
    new Map<string, (string | boolean)[]>([
      ['listen', ['[::1]:0']],
      ['slots', ['2']],
      ['memory', ['1g']],
      ['label', ['a=b']],
      ['drainTimeout', ['5s']],
    ]),
  )
  const env = readEnvironment({ HYPER_HOME: '/h', HYPER_MESH: '/ip4/127.0.0.1/tcp/0' })
  const coordinator = parseCoordinatorConfig(coordinatorConfigOf(flags, env))
  assert.deepEqual([coordinator.listenHost, coordinator.listenPort], ['::1', 0])
  assert.deepEqual([coordinator.home, coordinator.drainMs], ['/h/coordinator', 5000])
  const agent = parseAgentConfig(
    agentConfigOf(flags, env, { number: 2, agents: 2, ticket: null, adHoc: false }),
  )
  assert.deepEqual([agent.home, agent.slots, agent.memoryBytes], ['/h/agent-2', 2, 2 ** 30])
  const shared = agentConfigOf(createFlags(new Map()), env, {
    ...{ number: 1, agents: 2, ticket: null, adHoc: false },
  })
  assert.ok(shared.slots !== null && shared.memoryBytes !== null)
  assert.throws(() => parseListen('7480'), { code: 'BAD_PARAMETER' })
  assert.equal(parseConfigure({ type: 'configure', config: agent }).type, 'configure')
  const pinned = configAgain(coordinator, {
    type: 'ready',
    url: 'http://[::1]:4711',
    peerId: 'P',
    listen: '::1:4711',
    mesh: ['/ip4/127.0.0.1/tcp/4712/p2p/P'],
  })
  assert.deepEqual([pinned.listenPort, pinned.mesh], [4711, ['/ip4/127.0.0.1/tcp/4712']])
})

test('a terminal gets no control characters of others, a pipe gets them as they are', () => {
  const print = (isTTY: boolean): string => {
    let printed = ''
    const stdout = {
      isTTY,
      write: (text: string) => {
        printed += text
      },
    }
    const output = createOutput({ stdout, stderr: stdout, isJson: false, isQuiet: false })
    output.line('a\u001b[2Jb\u009bc\u202ed')
    output.table(['NAME'], [['x\u001b]0;t\u0007']])
    return printed
  }
  assert.equal(print(true), 'a\ufffd[2Jb\ufffdc\ufffdd\nNAME\nx\ufffd]0;t\ufffd\n')
  assert.ok(print(false).startsWith('a\u001b[2Jb\u009bc\u202ed\n'))
})

test('templates show fields and refuse what they do not know', () => {
  const value = { A: { B: 'x', C: [1, 2], D: null } }
  assert.equal(
    fillTemplate('{{.A.B}}/{{ .A.C }}/{{json .A}}/{{.A.D}}', value),
    `x/[1 2]/${JSON.stringify(value.A)}/<no value>`,
  )
  assert.throws(() => fillTemplate('{{.A.Z}}', value), { code: 'BAD_PARAMETER' })
  assert.throws(() => fillTemplate('{{range .A}}', value), { code: 'BAD_PARAMETER' })
})

test('on a terminal the progress of a layer is rewritten in its own line', () => {
  let written = ''
  const show = createTerminalProgress(
    (text) => {
      written += text
    },
    () => 80,
  )
  show({ id: 'a', status: 'Waiting' })
  show({ id: 'b', status: 'Waiting' })
  show({ id: 'a', status: 'Done' })
  assert.equal(written, 'a: Waiting\nb: Waiting\n\u001b[2A\r\u001b[2Ka: Done\u001b[2B\r')
})

/** Static and dynamic imports of the project's own files, and the packages they name. */
const importsOf = async (start: readonly string[]): Promise<ReadonlySet<string>> => {
  const seen = new Set<string>()
  const packages = new Set<string>()
  const visit = async (path: string): Promise<void> => {
    if (seen.has(path)) return
    seen.add(path)
    const text = await readFile(path, 'utf8')
    const found = text.matchAll(
      /^(?:import|export)\s(?!type\s)[^'"]*?from '([^']+)'|^import '([^']+)'|import\('([^']+)'\)/gm,
    )
    for (const [, named, bare, dynamic] of found) {
      const from = named ?? bare ?? dynamic ?? ''
      if (from.startsWith('.')) await visit(resolve(dirname(path), from))
      else if (!from.startsWith('node:')) packages.add(from)
    }
  }
  for (const path of start) await visit(path)
  return packages
}

test('client commands load neither a native module nor the mesh', async () => {
  const cli = fileURLToPath(new URL('../../cli/', import.meta.url))
  const commands = ['account', 'agents', 'func-call', 'func-change', 'func-create', 'func-logs']
  const more = ['func-show', 'info', 'invite', 'login', 'pull', 'completion']
  const packages = await importsOf(
    [...commands, ...more].map((name) => join(cli, 'commands', `${name}.ts`)),
  )
  // The last one is of `hyper backup`, and loaded by it alone.
  const allowed = new Set(['typebox', 'typebox/schema', 'cac', '@ipld/dag-cbor'])
  assert.deepEqual(
    [...packages].filter((name) => !allowed.has(name)),
    [],
  )
  assert.ok(packages.has('typebox/schema'), 'the walk reaches the client')
})
