/**
 * Runtimes that functions ask for by name, on an engine that has gVisor's runsc, a runtime that
 * cannot start anything, and one behind which files that change do not seem to.
 */

import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Template } from '../../agent/runner/oci/template.ts'
import { findCommand } from '../../cli/setup/engine-install.ts'
import type { ImagePin } from '../../protocol/image.ts'
import type { Assignment } from '../../protocol/messages.ts'
import { type AgentBench, createAgentBench } from '../support/agent-bench.ts'
import { type Deployment, startDeployment } from '../support/deployment.ts'
import { templateBy } from '../support/oci-bench.ts'
import { connectRunnerEngine } from '../support/runner-engine.ts'
import { startWorkbench, type Workbench } from '../support/workbench.ts'

/** Mounts a copy of the switch's folder, which nobody turns. Counts its starts. */
const STALE = `#!/bin/sh
for last; do :; done
case " $* " in
*" create "*)
  bundle=$(printf '%s\\n' "$@" | grep -A1 -x -e --bundle | tail -n 1)
  echo start >> DIR/stale-starts
  source=$(grep -o '"[^"]*/init/[0-9a-f]*"' "$bundle/config.json" | tr -d '"')
  cp -a "$source" DIR/stale
  sed -i "s|$source|DIR/stale|" "$bundle/config.json"
esac
exec RUNC "$@"
`
const FAILING = `#!/bin/sh
echo "start" >> DIR/failing-starts
echo "no such luck" >&2
exit 1
`

let dir: string
let workbench: Workbench
const RUNNERS = process.getuid?.() === 0 ? (['docker', 'oci'] as const) : (['docker'] as const)
type RunnerName = 'docker' | 'oci'

let bench: AgentBench
let direct: AgentBench
let ubuntu: ImagePin
const log: string[] = []
const directLog: string[] = []
const benchOf = (runner: RunnerName): AgentBench => (runner === 'oci' ? direct : bench)

const install = async (name: string, script: string, runc: string): Promise<string> => {
  const path = join(dir, name)
  await writeFile(path, script.replaceAll('DIR', dir).replaceAll('RUNC', runc))
  await chmod(path, 0o755)
  return path
}

before(async () => {
  const runc = await findCommand('runc')
  const runsc = await findCommand('runsc')
  assert.ok(runc !== undefined && runsc !== undefined, 'runc and runsc are installed')
  dir = await mkdtemp(join(tmpdir(), 'rt-'))
  workbench = await startWorkbench({
    dir,
    runtimes: {
      runsc: { path: runsc, runtimeArgs: ['--network=none'] },
      stale: { path: await install('stale.sh', STALE, runc) },
      failing: { path: await install('failing.sh', FAILING, runc) },
    },
  })
  Object.assign(process.env, workbench.environment)
  bench = await createAgentBench({ runner: 'docker', onLog: (line) => log.push(line) })
  await bench.open()
  await bench.connect()
  direct = await createAgentBench({ runner: 'auto', onLog: (line) => directLog.push(line) })
  await direct.open()
  await direct.connect()
  ubuntu = await bench.pin('ubuntu')
})
after(async () => {
  await bench.close()
  await direct.close()
  await workbench.stop()
  await rm(dir, { recursive: true, force: true })
})

const call = (script: string, part: Partial<Assignment> = {}) => ({
  ...{ image: ubuntu, runtime: 'runsc', cmd: ['sh', '-c', script] },
  ...part,
})

/** Ids and paths are each container's own. */
const comparable = (template: Template | undefined) => {
  assert.ok(template !== undefined)
  const { hooks: _hooks, root: _root, ...kept } = template
  const { cgroupsPath: _path, ...linux } = kept.linux
  const own = /[0-9a-f]{64}|^HOSTNAME=.*|\/\.hyper-[0-9a-f]+|[0-9a-f]{12}$/g
  return JSON.parse(
    JSON.stringify({ ...kept, linux }, (_key, value) =>
      typeof value === 'string' ? value.replace(own, 'OWN') : value,
    ),
  )
}

test('only runtimes that ran a container are told to the coordinator', () => {
  for (const each of [bench, direct])
    assert.deepEqual(each.premises().hostFacts().runtimes.toSorted(), ['runc', 'runsc'])
})

test('runtimes that we know are started without the engine, others by it, and that is logged', {
  skip: RUNNERS.length === 1 && 'needs root',
}, async () => {
  const lines = directLog.filter((line) => line.includes('a runtime is left to the engine'))
  for (const name of ['stale', 'failing'])
    assert.ok(
      lines.some((line) => line.includes(`"runtime":"${name}"`)),
      name,
    )
  assert.equal(lines.length, 2, lines.join('\n'))
  const key = direct.assign(call('exec sleep 60'))
  await direct.message('started', key)
  assert.match((await direct.containers()).join(), /^oci-/)
  direct.cancel(key)
  await direct.message('gone', key)
})

test('the engine hands gVisor what it hands its default runtime', async () => {
  const engine = await connectRunnerEngine()
  try {
    for (const profile of ['default', 'strict', 'compat'] as const) {
      const [ours, theirs] = await Promise.all(
        ['', 'runsc'].map((runtime) => templateBy(engine, { profile, runtime })),
      )
      assert.deepEqual(comparable(ours), comparable(theirs), profile)
    }
  } finally {
    engine.close()
  }
})

test('why another one is not offered is logged', () => {
  const of = (name: string): string =>
    log.find((line) => line.includes(`"runtime":"${name}"`) && line.includes('not offered')) ?? ''
  assert.match(of('failing'), /no such luck|could not be started/)
  assert.match(of('stale'), /switch was not seen to move/)
})

test('a runtime that does not work is tried once, however often the engine comes and goes', async () => {
  const starts = (): Promise<string> => readFile(join(dir, 'failing-starts'), 'utf8')
  const before = await starts()
  assert.ok(before.length > 0)
  for (let round = 0; round < 3; round += 1) await bench.premises().engine.check()
  assert.equal(await starts(), before)
})

for (const runner of RUNNERS)
  test(`a call under runsc sees another kernel, in each profile (${runner})`, async () => {
    for (const profile of ['default', 'strict', 'compat'] as const) {
      const result = await benchOf(runner).run(call('uname -r; dmesg | head -n 1', { profile }))
      const said = Buffer.from(result.stdout).toString()
      assert.equal(result.code, 'FINISHED', result.message)
      assert.match(said, /Starting gVisor/)
      assert.ok(!said.includes(release()), said)
    }
  })

for (const runner of RUNNERS)
  test(`1 MB goes through runsc byte for byte (${runner})`, async () => {
    const payload = Buffer.alloc(1024 * 1024, 'hyper')
    const result = await benchOf(runner).run(call('cat', { payload }))
    assert.deepEqual([result.code, payload.equals(result.stdout)], ['FINISHED', true])
  })

for (const runner of RUNNERS)
  test(`timeout, exit code and a cancel are the same under runsc (${runner})`, async () => {
    assert.equal((await benchOf(runner).run(call('exit 7'))).exitCode, 7)
    assert.equal(
      (await benchOf(runner).run(call('sleep 60', { timeoutMs: 500 }))).code,
      'CALL_TIMED_OUT',
    )
    const key = benchOf(runner).assign(call('exec sleep 60'))
    await benchOf(runner).message('started', key)
    benchOf(runner).cancel(key)
    await benchOf(runner).message('gone', key)
  })

test('a call that asks for a runtime that is not offered is never run without it', async () => {
  for (const runtime of ['failing', 'stale', 'none-such', 'io.containerd.runc.v2']) {
    const key = bench.assign(call('true', { runtime }))
    assert.match((await bench.message('refused', key)).message, new RegExp(`runtime ${runtime}`))
  }
})

test('a network that would not be there under a runtime is refused, not left out', async () => {
  const result = await bench.run(call('true', { network: 'bridge' }))
  assert.deepEqual([result.code, result.started], ['START_FAILED', false])
  assert.match(result.message, /under the runtime runsc there is no network.*--network none/)
})

test('a function made with --runtime runsc runs under it, from the command line', async () => {
  const deployment: Deployment = await startDeployment()
  try {
    const create = (...flags: string[]) =>
      deployment.hyper([
        'func',
        'create',
        '--name',
        'f',
        '--runtime',
        'runsc',
        ...flags,
        'ubuntu',
        'dmesg',
      ])
    const refused = await create()
    assert.deepEqual([refused.code, refused.stdout.length], [2, 0])
    assert.match(refused.stderr, /no network under Runtime runsc.*--network none/)
    const made = await create('--network', 'none')
    assert.equal(made.code, 0, made.stderr)
    const called = await deployment.hyper(['func', 'call', '--sync', 'f'])
    assert.match(called.stdout.toString(), /Starting gVisor/)
  } finally {
    await deployment.stop()
  }
})
