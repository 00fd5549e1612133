/**
 * The systemd units of the package, read as strictly as they are meant: a key that systemd would only
 * warn of, a flag that the command line no longer has, a stop that is shorter than the drain. Where
 * systemd's own judge is installed, it is asked as well.
 */

import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readArguments } from '../../cli/argv.ts'
import { findCommand } from '../../cli/setup/engine-install.ts'
import { limits } from '../../protocol/limits.ts'
import { run } from '../support/program.ts'

const folder = fileURLToPath(new URL('../../deploy/systemd', import.meta.url))
const NAMES = ['coordinator', 'agent'] as const

const yes = /^yes$/
const seconds = /^\d+$/
const unitList = /^[a-z-]+\.(?:service|target)(?: [a-z-]+\.(?:service|target))*$/

/** Every key that a unit of ours may have, and what its value looks like. */
const KEYS: Readonly<Record<string, Readonly<Record<string, RegExp>>>> = {
  Unit: { Description: /^Hyper Func \w+$/, Wants: unitList, After: unitList },
  Service: {
    Type: /^exec$/,
    Environment: /^(?:[A-Z_]+=\S* ?)+$/,
    EnvironmentFile: /^-\/etc\/hyper\/\w+\.env$/,
    ExecStart: /^hyper /,
    Restart: /^on-failure$/,
    RestartSec: seconds,
    RestartPreventExitStatus: /^\d+(?: \d+)*$/,
    KillMode: /^mixed$/,
    KillSignal: /^SIGTERM$/,
    TimeoutStopSec: seconds,
    DynamicUser: yes,
    StateDirectory: /^hyper-[a-z]+$/,
    StateDirectoryMode: /^0700$/,
    UMask: /^0077$/,
    LimitNOFILE: /^\d+$/,
    NoNewPrivileges: yes,
    CapabilityBoundingSet: /^$/,
    AmbientCapabilities: /^$/,
    ProtectSystem: /^strict$/,
    ProtectHome: yes,
    PrivateTmp: yes,
    PrivateDevices: yes,
    ProtectClock: yes,
    ProtectControlGroups: yes,
    ProtectHostname: yes,
    ProtectKernelLogs: yes,
    ProtectKernelModules: yes,
    ProtectKernelTunables: yes,
    ProtectProc: /^invisible$/,
    LockPersonality: yes,
    RestrictAddressFamilies: /^AF_[A-Z0-9]+(?: AF_[A-Z0-9]+)*$/,
    RestrictNamespaces: yes,
    RestrictRealtime: yes,
    RestrictSUIDSGID: yes,
    RemoveIPC: yes,
    SystemCallArchitectures: /^native$/,
    SystemCallFilter: /^@system-service$/,
    SystemCallErrorNumber: /^EPERM$/,
  },
  Install: { WantedBy: /^multi-user\.target$/ },
}

type Unit = ReadonlyMap<string, string>

/** `Service.Type` → `exec`. Throws on anything that is not of the table, and on a key said twice. */
const parseUnit = (text: string): Unit => {
  const unit = new Map<string, string>()
  let section = ''
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const [, header] = /^\[(\w+)\]$/.exec(line) ?? []
    if (header !== undefined) {
      assert.ok(Object.hasOwn(KEYS, header), `section ${header}`)
      section = header
      continue
    }
    const [, key = '', value = ''] = /^(\w+)=(.*)$/.exec(line) ?? []
    const form = KEYS[section]?.[key]
    assert.ok(form !== undefined, `${section}: ${line}`)
    assert.match(value, form, line)
    assert.ok(!unit.has(`${section}.${key}`), `twice: ${line}`)
    unit.set(`${section}.${key}`, value)
  }
  return unit
}

const pathOf = (name: string): string => join(folder, `hyper-${name}.service`)
const readUnit = async (name: string): Promise<Unit> =>
  parseUnit(await readFile(pathOf(name), 'utf8'))

/** The words of ExecStart without the program and `$FLAGS`, which is its user's. */
const argumentsOf = (unit: Unit): readonly string[] => {
  const [program, ...words] = (unit.get('Service.ExecStart') ?? '').split(' ')
  assert.equal(program, 'hyper')
  assert.equal(words.pop(), '$FLAGS')
  assert.match(unit.get('Service.Environment') ?? '', / FLAGS=$/)
  return words
}

for (const name of NAMES) {
  test(`the command of the ${name}’s unit is one of hyper’s, with flags that it has`, async () => {
    const reading = readArguments(argumentsOf(await readUnit(name)))
    assert.equal(reading.kind, 'run')
    assert.ok(reading.kind === 'run')
    assert.equal(reading.command.words, name)
    assert.equal(reading.command.isDaemon, true)
  })

  test(`the ${name}’s unit gives a stop the time that the drain and what follows may take`, async () => {
    const unit = await readUnit(name)
    const stopMs = Number(unit.get('Service.TimeoutStopSec')) * 1000
    assert.ok(stopMs > limits.drainMs + limits.stopMarginMs, `${stopMs} ms`)
  })

  test(`the ${name} keeps its state where systemd makes it a folder`, async () => {
    const unit = await readUnit(name)
    assert.equal(unit.get('Service.StateDirectory'), `hyper-${name}`)
    assert.match(unit.get('Service.Environment') ?? '', new RegExp(`^HYPER_HOME=%S/hyper-${name} `))
  })
}

test('the agent’s ticket stands in a file, and no engine is required', async () => {
  const unit = await readUnit('agent')
  const reading = readArguments(argumentsOf(unit))
  assert.ok(reading.kind === 'run')
  assert.deepEqual(reading.parsed.options.get('join'), ['@/etc/hyper/ticket'])
  assert.match(unit.get('Unit.After') ?? '', /\bdocker\.service\b/)
  assert.doesNotMatch(unit.get('Unit.Wants') ?? '', /docker/)
})

test('nothing of the agent’s unit confines what its containers would inherit', async () => {
  const confining = [...(await readUnit('agent')).keys()].filter((key) =>
    /\.(?:NoNewPriv|Protect|Private|Restrict(?!Prevent)|SystemCall|Limit|Capab|Ambient|Dynamic|UMask|Lock)/.test(
      key,
    ),
  )
  assert.deepEqual(confining, [])
})

test('the units are part of the package', async () => {
  const { files } = JSON.parse(await readFile(join(folder, '../../package.json'), 'utf8')) as {
    files: readonly string[]
  }
  assert.ok(files.includes('deploy'))
})

test('systemd itself has nothing to say of the units', async (t) => {
  const judge = await findCommand('systemd-analyze')
  if (judge === undefined) return t.skip('systemd-analyze is not installed')
  const dir = await mkdtemp(join(tmpdir(), 'units-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  for (const name of NAMES) {
    // Here nobody has installed the package; its absence is all that is put right.
    const text = await readFile(pathOf(name), 'utf8')
    const path = join(dir, `hyper-${name}.service`)
    await writeFile(path, text.replace('ExecStart=hyper ', 'ExecStart=/bin/sh '))
    assert.equal(await run('sh', ['-c', `"${judge}" verify --man=no "${path}" 2>&1`]), '')
  }
})
