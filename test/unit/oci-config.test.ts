/** The oci runner's words to its runtime: who a process is, where cgroups are, the configuration. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Fence } from '../../agent/host-config.ts'
import { hierarchiesOf } from '../../agent/runner/oci/cgroups.ts'
import { configOf, type Place, type Program, volumesOf } from '../../agent/runner/oci/config.ts'
import type { Template } from '../../agent/runner/oci/template.ts'
import { identityOf } from '../../agent/runner/oci/users.ts'
import { limits } from '../../protocol/limits.ts'

const MiB = 1024 * 1024

describe('a user of an image', () => {
  const files = {
    passwd: [
      'root:x:0:0:root:/root:/bin/sh',
      '  app:x:1000:1001::/home:/bin/sh',
      'app:x:1002:1002:the second of its name:/:/bin/sh',
      '',
      'alias:x:1000:5000:the second of its number:/:/bin/sh',
      '3000:x:4000:4000:a name that looks like a number:/:/bin/sh',
      'broken',
      'lost:x:what:',
    ].join('\n'),
    group: [
      'root:x:0:',
      'wheel:x:10:root,app',
      'app:x:1001:',
      'audio:x:29:someone,app,other',
      'apps:x:30:application',
      '77:x:78:',
    ].join('\n'),
  }
  /** User, uid, gid, all groups. */
  const table: readonly (readonly [string, number, number, readonly number[]])[] = [
    ['', 0, 0, [0, 10]],
    ['root', 0, 0, [0, 10]],
    ['0', 0, 0, [0, 10]],
    ['app', 1000, 1001, [1001, 10, 29]],
    ['1000', 1000, 1001, [1001, 10, 29]],
    ['+1000', 1000, 1001, [1001, 10, 29]],
    ['alias', 1000, 5000, [5000]],
    ['3000', 3000, 0, [0]],
    ['4000', 4000, 4000, [4000]],
    ['1234', 1234, 0, [0]],
    ['2147483647', 2147483647, 0, [0]],
    ['app:audio', 1000, 29, [29]],
    ['app:1001', 1000, 1001, [1001]],
    ['app:', 1000, 1001, [1001, 10, 29]],
    [':audio', 0, 29, [29]],
    ['1234:4321', 1234, 4321, [4321]],
    ['1234:wheel', 1234, 10, [10]],
    ['app:77', 1000, 77, [77]],
    ['app:78', 1000, 78, [78]],
    ['app:audio:root', 1000, 29, [29]],
    ['lost', 0, 0, [0]],
  ]
  for (const [user, uid, gid, additionalGids] of table) {
    test(`${JSON.stringify(user)} is ${uid}:${gid} in ${additionalGids.join(', ')}`, () => {
      assert.deepEqual(identityOf(user, files), { uid, gid, additionalGids })
    })
  }

  test('is not found where neither a line nor a number says who it is', () => {
    const unknown = [
      'nobody',
      'App',
      'app:nogroup',
      'nobody:audio',
      '1234:Wheel',
      '1e3',
      '0x10',
      ' ',
    ]
    for (const user of unknown) {
      assert.throws(() => identityOf(user, files), { code: 'USER_NOT_FOUND' }, user)
    }
  })

  test('is not found where its number is none that the kernel has', () => {
    for (const user of ['-1', '2147483648', 'app:-1', 'app:2147483648', '99999999999999999999']) {
      assert.throws(() => identityOf(user, files), { code: 'USER_NOT_FOUND' }, user)
    }
  })

  test('of one without users is root or a number', () => {
    const none = { passwd: '', group: '' }
    assert.deepEqual(identityOf('', none), { uid: 0, gid: 0, additionalGids: [0] })
    assert.deepEqual(identityOf('7:8', none), { uid: 7, gid: 8, additionalGids: [8] })
    for (const user of ['root', '0:root']) {
      assert.throws(() => identityOf(user, none), { code: 'USER_NOT_FOUND' }, user)
    }
  })
})

describe('the cgroup hierarchies of a host', () => {
  const v1 = (name: string): string =>
    `33 32 0:28 / /sys/fs/cgroup/${name} rw,relatime shared:9 - cgroup cgroup rw,${name}`
  const v2 = (point: string): string => `35 24 0:30 / ${point} rw,nosuid shared:4 - cgroup2 none rw`
  const others = [
    '24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw',
    '32 24 0:27 / /sys/fs/cgroup ro shared:8 - tmpfs tmpfs ro,mode=755',
    '40 24 0:33 / /mnt/cgroup2 rw - tmpfs cgroup rw',
  ]

  test('are all of the first version and the one of the second', () => {
    const points = ['/sys/fs/cgroup/memory', '/sys/fs/cgroup/pids', '/sys/fs/cgroup/unified']
    const hybrid = [...others, v1('memory'), v1('pids'), v2('/sys/fs/cgroup/unified'), '']
    assert.deepEqual(hierarchiesOf(hybrid.join('\n')), points)
    assert.deepEqual(hierarchiesOf([...others, v2('/sys/fs/cgroup')].join('\n')), [
      '/sys/fs/cgroup',
    ])
  })

  test('are told from a part of them, as a container sees it', () => {
    const inside = v1('memory').replace(' / /sys', ' /docker/1234 /sys')
    assert.throws(() => hierarchiesOf([...others, inside].join('\n')), /namespace/)
  })

  test('may be missing', () => {
    assert.throws(() => hierarchiesOf(others.join('\n')), /no cgroups/)
  })
})

describe('the configuration of a container', () => {
  const template: Template & { readonly ociVersion: string } = {
    ociVersion: '1.0.2',
    process: {
      args: ['/.hyper-1/hyper-init'],
      env: ['PATH=/usr/bin:/bin', 'HOSTNAME=abcdef', 'LANG=C'],
      cwd: '/elsewhere',
      user: { uid: 5, gid: 6 },
      capabilities: { bounding: ['CAP_KILL'] },
      apparmorProfile: 'docker-default',
    },
    root: { path: '/engine/merged', readonly: true },
    hostname: 'abcdef',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid'] },
      { destination: '/etc/hosts', type: 'bind', source: '/engine/hosts', options: ['rbind'] },
      { destination: '/etc/hostname', type: 'bind', source: '/engine/hostname' },
      { destination: '/etc/resolv.conf', type: 'bind', source: '/engine/resolv.conf' },
      { destination: '/hosts', type: 'bind', source: '/engine/other' },
    ],
    hooks: { prestart: [{ path: '/proc/11/exe' }] },
    linux: {
      resources: {
        devices: [{ allow: false }],
        memory: { limit: 1, swap: 2, disableOOMKiller: true },
        cpu: { shares: 0, quota: 1, period: 2 },
        pids: { limit: 1 },
        blockIO: { weight: 0 },
      },
      cgroupsPath: '/engine/abcdef',
      namespaces: [{ type: 'mount' }, { type: 'network' }],
    },
  }
  const fence: Fence = {
    ...{ memoryBytes: 64 * MiB, cpus: 0.5, network: 'none', runtime: '', profile: 'default' },
  }
  const program: Program = {
    identity: { uid: 1000, gid: 1001, additionalGids: [1001, 29] },
    ...{ workingDir: '/srv', environment: ['GREETING=a=b', 'PATH=/opt/bin'], volumes: [] },
  }
  const place: Place = {
    id: 'oci-0123456789ab',
    folder: '/home/c',
    cgroupsPath: '/hyper/c',
    isLinked: false,
    initPlace: '/.hyper-2',
  }

  const made = (
    part: Partial<Fence> = {},
    other: Partial<Program> = {},
    cpus = 2,
    where: Place = place,
  ) => {
    const config = configOf(template, { ...fence, ...part }, { ...program, ...other }, where, cpus)
    return config as Template
  }

  test('is the engine’s own but for what is the container’s', () => {
    const before = structuredClone(template)
    const { process, root, linux, ...rest } = made()
    assert.deepEqual(template, before, 'the template is not changed')
    assert.equal(process.apparmorProfile, 'docker-default')
    assert.deepEqual(process.args, ['/.hyper-2/hyper-init'], 'its place is the container’s own')
    assert.deepEqual(process.user, { uid: 1000, gid: 1001, additionalGids: [1001, 29] })
    assert.deepEqual(root, { path: '/home/c/t/rootfs', readonly: true })
    assert.equal(linux.cgroupsPath, '/hyper/c')
    assert.deepEqual(linux.namespaces, template.linux.namespaces)
    assert.deepEqual(Object.keys(rest).sort(), ['hostname', 'mounts', 'ociVersion'])
    assert.equal(rest.hostname, 'oci-01234567')
  })

  test('with a network is put into the namespace that its keeper has made', () => {
    const { namespaces } = made({}, {}, 2, { ...place, isLinked: true }).linux
    const others = template.linux.namespaces.filter(({ type }) => type !== 'network')
    assert.deepEqual(
      namespaces.filter(({ type }) => type !== 'network'),
      others,
    )
    const network = namespaces.filter(({ type }) => type === 'network')
    assert.deepEqual(network, [{ type: 'network', path: '/home/c/t/net' }])
  })

  test('begins in the working directory, or in the root', () => {
    assert.equal(made().process.cwd, '/srv')
    assert.equal(made({}, { workingDir: '' }).process.cwd, '/')
  })

  test('has the image’s environment over the engine’s, and a host’s name of its own', () => {
    const expected = ['LANG=C', 'HOSTNAME=oci-01234567', 'GREETING=a=b', 'PATH=/opt/bin']
    assert.deepEqual(made().process.env, expected)
    const { env } = made({}, { environment: ['HOSTNAME=mine'] }).process
    assert.deepEqual(env, ['PATH=/usr/bin:/bin', 'LANG=C', 'HOSTNAME=mine'])
  })

  test('takes the files that are each container’s own from its folder’s part in memory', () => {
    const { mounts } = made()
    const sources = mounts.map(({ source }) => source)
    const own = ['hosts', 'hostname', 'resolv.conf'].map((name) => `/home/c/t/${name}`)
    assert.deepEqual(sources, ['proc', '/engine/other', ...own])
    assert.deepEqual(mounts[2]?.options, ['rbind'])
  })

  test('has the image’s volumes from its folder', () => {
    const { mounts } = made({}, { volumes: ['/data', '/data/inner'] })
    const volumes = mounts.filter(({ destination }) => destination.startsWith('/data'))
    assert.deepEqual(volumes, [
      { destination: '/data', type: 'bind', source: '/home/c/t/v0', options: ['rbind'] },
      { destination: '/data/inner', type: 'bind', source: '/home/c/t/v1', options: ['rbind'] },
    ])
  })

  test('has no volume over a mount of ours, and hyper-init after all others', () => {
    const at = (destination: string) => ({ destination, type: 'bind' })
    const places = ['/proc', '/dev', '/dev/pts', '/.hyper-1', '/tmp', '/etc/hosts']
    const ours = { ...template, mounts: places.map(at) }
    const asked = [
      '/.hyper-1',
      '/.hyper-1/x',
      '/data',
      '/dev',
      '/etc',
      '/etc/hosts',
      '/etc/x',
      '/tmp/x',
    ]
    const volumes = volumesOf(ours, asked)
    assert.deepEqual(volumes, ['/.hyper-1/x', '/data', '/etc', '/etc/x', '/tmp/x'])
    const { mounts } = configOf(ours, fence, { ...program, volumes }, place, 2) as Template
    assert.deepEqual(
      mounts.map(({ destination }) => destination),
      [
        ...['/proc', '/dev', '/dev/pts', '/data', '/etc', '/tmp'],
        ...['/.hyper-1/x', '/etc/x', '/tmp/x', '/etc/hosts', '/.hyper-2'],
      ],
    )
  })

  test('bounds memory without swap, and processes', () => {
    const { resources } = made().linux
    const memory = { limit: 64 * MiB, swap: 64 * MiB, disableOOMKiller: false }
    assert.deepEqual(resources.memory, memory)
    assert.deepEqual(resources.pids, { limit: limits.pidsMax })
    assert.deepEqual(resources.devices, [{ allow: false }])
    assert.deepEqual(resources.blockIO, { weight: 0 })
  })

  test('caps CPUs by the size, never beyond the host’s, and not where the size says none', () => {
    const cpu = (quota: number) => ({ shares: 0, quota, period: 100_000 })
    assert.deepEqual(made().linux.resources.cpu, cpu(50_000))
    assert.deepEqual(made({ cpus: 1 / 3 }).linux.resources.cpu, cpu(33_333))
    assert.deepEqual(made({ cpus: 64 }, {}, 2).linux.resources.cpu, cpu(200_000))
    assert.deepEqual(made({ cpus: 0 }).linux.resources.cpu, { shares: 0 })
  })

  test('gives root the capabilities of the profile, and others none before their exec', () => {
    const all = ['CAP_KILL']
    assert.deepEqual(made().process.capabilities, { bounding: all })
    const root = { identity: { uid: 0, gid: 0, additionalGids: [0] } }
    const held = { bounding: all, effective: all, permitted: all }
    assert.deepEqual(made({}, root).process.capabilities, held)
  })
})
