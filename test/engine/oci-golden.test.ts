/**
 * What the oci runner hands to the runtime, against what the engine hands to it for the same
 * function: field by field, and as a container of each sees it from inside.
 */

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { initPlaceOf } from '../../agent/runner/oci/config.ts'
import { readTemplate, type Template } from '../../agent/runner/oci/template.ts'
import { memoryOf, OCI_SKIP, type OciBench, openOciBench } from '../support/oci-bench.ts'
import { type CallSpec, outputOf, sh, soon, specOf } from '../support/runner-call.ts'
import { newIdentity } from '../support/runner-engine.ts'

const MiB = 1024 * 1024
const OWN_FILES = ['/etc/resolv.conf', '/etc/hostname', '/etc/hosts']

/** Image, and what is asked of it. */
const FUNCTIONS: readonly (readonly ['ubuntu' | 'configured' | 'static', Partial<CallSpec>])[] = [
  ['ubuntu', {}],
  ['ubuntu', { fence: { memoryBytes: 96 * MiB, cpus: 0.25 } }],
  ['ubuntu', { fence: { memoryBytes: 512 * MiB, cpus: 1000 } }],
  ['ubuntu', { fence: { profile: 'strict' }, user: 'nobody' }],
  ['ubuntu', { fence: { profile: 'strict' }, workingDir: '/made/by/us' }],
  ['ubuntu', { fence: { profile: 'compat' }, user: 'ubuntu' }],
  ['ubuntu', { user: '1234', workingDir: '/usr/bin' }],
  ['ubuntu', { user: '1000' }],
  ['ubuntu', { user: 'ubuntu:nogroup' }],
  ['ubuntu', { user: '1234:4321' }],
  ['static', { user: '1000:1000' }],
  ['static', {}],
  ['configured', { user: '1234', workingDir: '/srv/app' }],
  ['configured', { user: 'ubuntu', workingDir: '/srv/app', fence: { profile: 'strict' } }],
]

type Mount = Template['mounts'][number]

/**
 * Ids, paths and hooks are each container's own; the engine has volumes among the other mounts, and we
 * have hyper-init after all of them.
 */
const comparable = (config: Template, volumes: readonly string[]) => {
  const { hooks: _hooks, ...kept } = config
  const { cgroupsPath: _cgroupsPath, ...linux } = kept.linux
  const { path: _path, ...root } = kept.root
  const init = initPlaceOf(config)
  const named = kept.process.env.map((row) => row.replace(/^HOSTNAME=.*/, 'HOSTNAME=ID'))
  const isMoved = ({ destination }: Mount): boolean =>
    destination === init || volumes.includes(destination)
  const places = [...OWN_FILES, ...volumes]
  const mounts = kept.mounts.map((mount) =>
    places.includes(mount.destination) ? { ...mount, source: 'OWN' } : mount,
  )
  const anyInit = (mount: Mount): Mount =>
    mount.destination === init ? { ...mount, destination: 'INIT' } : mount
  return {
    ...kept,
    ...{ hostname: 'ID', root, linux },
    process: {
      ...kept.process,
      args: kept.process.args.map((word) => word.replace(init, 'INIT')),
      env: named.sort(),
    },
    mounts: mounts.filter((mount) => !isMoved(mount)),
    moved: mounts
      .filter(isMoved)
      .map(anyInit)
      .sort((a, b) => a.destination.localeCompare(b.destination)),
  }
}

/** Numbers that no two containers share are left out. */
const LOOK = `
status() { grep -E "^($1):" /proc/self/status; }
status 'Uid|Gid|Groups|Cap.*|NoNewPrivs|Seccomp|Speculation.*|Cpus_allowed|Mems_allowed'
ulimit -a
id
pwd
cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_unprivileged_port_start
find /dev | grep -v /dev/fd/ | sort | xargs ls -ldn | awk '{ print $1, $3, $4, $NF }'
grep -v ' / ' /proc/mounts | awk '{ print $1 != "overlay" && $1 !~ "^/" ? $1 : "-", $2, $3, $4 }' |
  grep -v ' /\\(etc/\\|.hyper\\|volume\\|sys/fs/cgroup\\)'
sed 's|/.hyper-[^ ]*|/.hyper|' /proc/mounts | grep ' /\\(.hyper\\|etc/.*\\) ' | awk '{ print $2, substr($4, 1, 2) }' | sort
grep ' /sys/fs/cgroup/' /proc/mounts | awk '{ print $2, $3, $4 }'
awk '$2 == "/" { print $3, substr($4, 1, 2) }' /proc/mounts
ls -ldn /* | awk '{ print $1, $3, $4, $NF }'
ls /sys/class/net /proc/self/ns
`

describe('what the runtime is told', { skip: OCI_SKIP }, () => {
  let bench: OciBench
  before(async () => {
    bench = await openOciBench()
  })
  after(() => bench.close())

  const byEngine = async (image: string, spec: Partial<CallSpec>): Promise<Template> => {
    const runner = bench.bench.dockerRunner(newIdentity())
    const container = await runner.start(specOf(image, spec), soon())
    try {
      return await readTemplate(container.id)
    } finally {
      container.detach()
      await runner.remove(container.id, soon())
    }
  }

  const byUs = async (image: string, spec: Partial<CallSpec>): Promise<Template> => {
    const container = await bench.runner.start(specOf(image, spec), soon())
    try {
      const path = join(await memoryOf(bench, container.id), 'config.json')
      return JSON.parse(await readFile(path, 'utf8')) as Template
    } finally {
      container.detach()
      await bench.runner.remove(container.id, soon())
    }
  }

  for (const [image, spec] of FUNCTIONS) {
    test(`is the engine’s own for ${image} ${JSON.stringify(spec)}`, async () => {
      const { volumes } = await bench.rootOf(bench.images[image])
      const expected = await byEngine(bench.images[image], spec)
      const actual = await byUs(bench.images[image], spec)
      assert.deepEqual(comparable(actual, volumes), comparable(expected, volumes))
      assert.notEqual(actual.linux.cgroupsPath, expected.linux.cgroupsPath)
    })
  }

  test('has no hooks, which would connect the container with the engine', async () => {
    assert.equal((await byUs(bench.images.ubuntu, {})).hooks, undefined)
  })

  for (const profile of ['default', 'strict', 'compat'] as const) {
    test(`makes a container of the profile ${profile} look from inside as the engine’s`, async () => {
      const docker = bench.bench.dockerRunner(newIdentity())
      const spec = { ...sh(LOOK), user: 'ubuntu', workingDir: '/tmp', fence: { profile } }
      const expected = await outputOf(docker, bench.images.ubuntu, spec)
      const actual = await outputOf(bench.runner, bench.images.ubuntu, spec)
      assert.ok(expected.includes('Seccomp:') && expected.includes('/dev/null'))
      assert.deepEqual(actual.split('\n'), expected.split('\n'))
    })
  }
})
