/**
 * Runtimes that functions ask for by name, on an engine that has gVisor's runsc, a runtime that
 * cannot start anything, and one behind which files that change do not seem to.
 */

import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findCommand } from '../../cli/setup/engine-install.ts'
import type { ImagePin } from '../../protocol/image.ts'
import type { Assignment } from '../../protocol/messages.ts'
import { type AgentBench, createAgentBench } from '../support/agent-bench.ts'
import { type Deployment, startDeployment } from '../support/deployment.ts'
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
let bench: AgentBench
let ubuntu: ImagePin
const log: string[] = []

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
  bench = await createAgentBench({ onLog: (line) => log.push(line) })
  await bench.open()
  await bench.connect()
  ubuntu = await bench.pin('ubuntu')
})
after(async () => {
  await bench.close()
  await workbench.stop()
  await rm(dir, { recursive: true, force: true })
})

const call = (script: string, part: Partial<Assignment> = {}) => ({
  ...{ image: ubuntu, runtime: 'runsc', cmd: ['sh', '-c', script] },
  ...part,
})

test('only runtimes that ran a container are told to the coordinator', () => {
  assert.deepEqual(bench.premises().hostFacts().runtimes.toSorted(), ['runc', 'runsc'])
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

test('a call under runsc sees another kernel, in each profile', async () => {
  for (const profile of ['default', 'strict', 'compat'] as const) {
    const result = await bench.run(call('uname -r; dmesg | head -n 1', { profile }))
    const said = Buffer.from(result.stdout).toString()
    assert.equal(result.code, 'FINISHED', result.message)
    assert.match(said, /Starting gVisor/)
    assert.ok(!said.includes(release()), said)
  }
})

test('1 MB goes through runsc byte for byte', async () => {
  const payload = Buffer.alloc(1024 * 1024, 'hyper')
  const result = await bench.run(call('cat', { payload }))
  assert.deepEqual([result.code, payload.equals(result.stdout)], ['FINISHED', true])
})

test('timeout, exit code and a cancel are the same under runsc', async () => {
  assert.equal((await bench.run(call('exit 7'))).exitCode, 7)
  assert.equal((await bench.run(call('sleep 60', { timeoutMs: 500 }))).code, 'CALL_TIMED_OUT')
  const key = bench.assign(call('exec sleep 60'))
  await bench.message('started', key)
  bench.cancel(key)
  await bench.message('gone', key)
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
