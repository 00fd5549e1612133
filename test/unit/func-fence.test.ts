/** What a function may ask of its fence, and what is refused by its name: in the API, on the command line. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readArguments } from '../../cli/argv.ts'
import { findCommand } from '../../cli/catalog.ts'
import { HyperError } from '../../protocol/errors.ts'
import { parseFuncCreate } from '../../protocol/func-request.ts'

const create = (more: object, config: object = {}) =>
  parseFuncCreate({ Name: 'f', Config: { Image: 'ubuntu', ...config }, ...more })

const refusalOf = (act: () => unknown): HyperError => {
  try {
    act()
  } catch (error) {
    assert.ok(error instanceof HyperError)
    return error
  }
  return assert.fail('accepted')
}

test('network, runtime and profile are what was said, else bridge, the engine’s own and default', () => {
  const of = ({ HostConfig, Runtime, Profile }: ReturnType<typeof create>) => [
    HostConfig.NetworkMode,
    Runtime,
    Profile,
  ]
  assert.deepEqual(of(create({})), ['bridge', '', 'default'])
  assert.deepEqual(of(create({ Runtime: '', Profile: '', HostConfig: {} })), [
    ...['bridge', '', 'default'],
  ])
  const HostConfig = { NetworkMode: 'none' }
  assert.deepEqual(of(create({ HostConfig, Runtime: 'runsc', Profile: 'compat' })), [
    ...['none', 'runsc', 'compat'],
  ])
})

test('a wrong network, runtime or profile is named, with what there is', () => {
  const rows: readonly (readonly [object, RegExp])[] = [
    [
      { HostConfig: { NetworkMode: 'host' } },
      /NetworkMode host is not supported \(bridge or none\)/,
    ],
    [{ HostConfig: { NetworkMode: 'container:x' } }, /NetworkMode container:x/],
    [{ Profile: 'lax' }, /no such profile: "lax" \(choose one of default strict compat\)/],
    [{ Runtime: '../runc' }, /not a runtime’s name: "\.\.\/runc"/],
    [{ Runtime: 'x'.repeat(65) }, /not a runtime’s name: .*at most 64/],
  ]
  for (const [more, says] of rows) assert.match(refusalOf(() => create(more)).message, says)
})

test('a network under a runtime that has none is refused, unless the profile has none either', () => {
  for (const Runtime of ['runsc', 'kata', 'io.containerd.runsc.v1']) {
    const refusal = refusalOf(() => create({ Runtime }))
    assert.equal(refusal.code, 'BAD_PARAMETER')
    assert.match(refusal.line, new RegExp(`no network under Runtime ${Runtime}.*--network none`))
    create({ Runtime, HostConfig: { NetworkMode: 'none' } })
    create({ Runtime, Profile: 'strict' })
  }
  for (const Runtime of ['', 'runc', 'crun']) create({ Runtime })
})

const HOST_FIELDS = [
  ...['Binds', 'Mounts', 'Tmpfs', 'VolumesFrom', 'VolumeDriver', 'Devices', 'DeviceRequests'],
  ...['DeviceCgroupRules', 'Privileged', 'CapAdd', 'CapDrop', 'SecurityOpt', 'Sysctls', 'Ulimits'],
  ...['PidMode', 'IpcMode', 'UTSMode', 'UsernsMode', 'CgroupnsMode', 'CgroupParent', 'Runtime'],
  ...['Links', 'PortBindings', 'PublishAllPorts', 'ExtraHosts', 'Dns', 'Memory', 'NanoCpus'],
]

test('volumes, a terminal, devices and what is the host’s are refused by the field’s name', () => {
  for (const field of HOST_FIELDS) {
    for (const demand of ['host', true, ['/x'], { '/x': {} }, 1]) {
      const refusal = refusalOf(() => create({ HostConfig: { [field]: demand } }))
      assert.equal(refusal.code, 'UNSUPPORTED', field)
      assert.match(refusal.message, new RegExp(`^HostConfig\\.${field} is not supported`))
    }
  }
  for (const [field, demand] of [
    ['Tty', true],
    ['Volumes', { '/x': {} }],
    ['Hostname', 'x'],
    ['MacAddress', 'x'],
  ] as const) {
    const refusal = refusalOf(() => create({}, { [field]: demand }))
    assert.match(refusal.message, new RegExp(`^Config\\.${field} is not supported`))
  }
})

test('the same fields without a demand are what a client sends that sends them all', () => {
  for (const nothing of [null, false, '', [], {}, 0]) {
    const all = Object.fromEntries(HOST_FIELDS.map((field) => [field, nothing]))
    create({ HostConfig: all }, { Tty: false, Volumes: null, Hostname: '' })
  }
})

test('flags that Docker has and a function has not are refused by name, with what there is', () => {
  const rows = [
    [['-v', '/a:/b'], /^-v is not supported: a function has no volumes/],
    [['-v/a:/b'], /^-v is not supported/],
    [['--volume=/a:/b'], /^--volume is not supported: a function has no volumes/],
    [['--volumes-from', 'x'], /^--volumes-from is not supported/],
    [['-t'], /^-t is not supported: .*there is no terminal/],
    [['-it'], /^-i is not supported/],
    [['--privileged'], /^--privileged is not supported: .*--profile/],
    [['--device', '/dev/kvm'], /^--device is not supported/],
    [['--cap-add=ALL'], /^--cap-add is not supported/],
    [['--pid', 'host'], /^--pid is not supported: a function has no namespaces of its host/],
    [['-p', '80:80'], /^-p is not supported: a function is called by its address/],
    [['-m', '1g'], /^-m is not supported: .*--size/],
  ] as const
  for (const [flags, says] of rows) {
    const words = ['func', 'create', '--name', 'f', ...flags, 'ubuntu']
    const refusal = refusalOf(() => readArguments(words))
    assert.equal(refusal.code, 'BAD_PARAMETER')
    assert.match(refusal.message, says)
    assert.match(refusal.message, /See `hyper func create --help`$/)
  }
})

test('such flags after IMAGE are the function’s own, and none is one that we have', () => {
  const reading = readArguments(['func', 'create', '--name', 'f', 'ubuntu', 'ls', '-v', '--tty'])
  assert.deepEqual(reading.kind === 'run' && reading.parsed.rest, ['ls', '-v', '--tty'])
  const command = findCommand('func create')
  const ours = command?.options.flatMap(({ flags }) => flags.match(/--?[a-z-]+/g) ?? []) ?? []
  const refused = command?.refused?.flatMap(({ flags }) => flags) ?? []
  assert.deepEqual(
    refused.filter((flag) => ours.includes(flag)),
    [],
  )
})
