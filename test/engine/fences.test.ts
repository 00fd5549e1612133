/** What a container of each profile finds when it looks around, against the table in the docs. */

import assert from 'node:assert/strict'
import { readFile, readlink } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { after, before, test } from 'node:test'
import type { ImagePin } from '../../protocol/image.ts'
import { limits } from '../../protocol/limits.ts'
import type { Assignment } from '../../protocol/messages.ts'
import { type AgentBench, createAgentBench } from '../support/agent-bench.ts'

type Profile = Assignment['profile']
type Facts = Readonly<Record<string, string>>

const PROFILES = ['default', 'strict', 'compat'] as const
const MiB = 1024 * 1024
const MEMORY_BYTES = 96 * MiB
const NAMESPACES = ['ipc', 'mnt', 'net', 'pid', 'uts'] as const
const DOCS = new URL('../../docs/explanation/isolation.md', import.meta.url)

/** One `name=value` a line. Control groups are read in both of the kernel's forms. */
const LOOK = `
status() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status; }
group() { for f in "$@"; do cat /sys/fs/cgroup/$f 2>/dev/null && return; done; echo none; }
can() { if "$@" 2>/dev/null >&2; then echo yes; else echo no; fi; }
mounted() { awk -v p="$1" '$2 == p { print $3 "," $4 }' /proc/mounts | tail -n 1; }
echo capabilities=$(status CapEff)
echo bounding=$(status CapBnd)
echo noNewPrivileges=$(status NoNewPrivs)
echo seccomp=$(status Seccomp)
echo memory=$(group memory/memory.limit_in_bytes memory.max)
echo memoryAndSwap=$(group memory/memory.memsw.limit_in_bytes)
echo swap=$(group memory.swap.max)
echo cpu=$(group cpu.max cpu/cpu.cfs_quota_us) $(group cpu/cpu.cfs_period_us)
echo pids=$(group pids/pids.max pids.max)
echo openFiles=$(ulimit -Sn) $(ulimit -Hn)
echo core=$(ulimit -Sc) $(ulimit -Hc)
echo interfaces=$(ls /sys/class/net | sort)
echo ipv6=$(grep -v ' lo$' /proc/net/if_inet6 2>/dev/null)
echo user=$(id -u) $(id -g)
echo root=$(can touch /x)
echo tmp=$(can touch /tmp/x) $(mounted /tmp)
echo shm=$(mounted /dev/shm)
init=$(echo /.hyper-*)
echo hyper=$(mounted $init) $(can touch $init/x) $(can sh -c "echo 1 > $init/switch")
echo sysctl=$(can sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward')
echo cgroups=$(can mkdir /sys/fs/cgroup/x /sys/fs/cgroup/memory/x)
echo blocks=$(find /dev -type b)
echo binds=$(awk '$2 !~ "^/(proc|sys|dev|etc|tmp)(/|$)" && $2 != "/" { print $2 }' /proc/mounts)
echo init=$(can cat /proc/1/environ)
for n in ${NAMESPACES.join(' ')}; do echo $n=$(readlink /proc/self/ns/$n); done
`

let bench: AgentBench
let ubuntu: ImagePin
const rows = new Map<string, Readonly<Record<Profile, string>>>()

before(async () => {
  for (const line of (await readFile(DOCS, 'utf8')).split('<!-- profiles -->')[1]?.split('\n') ??
    [])
    readRow(line)
  bench = await createAgentBench()
  await bench.open()
  await bench.connect()
  ubuntu = await bench.pin('ubuntu')
})
after(() => bench.close())

const readRow = (line: string): void => {
  const [, what = '', first = '', second = '', third = ''] = line
    .split('|')
    .map((cell) => cell.trim())
  if (what === '' || what === '---') return
  rows.set(what, { default: first, strict: second, compat: third })
}

const look = async (part: Partial<Assignment>): Promise<Facts> => {
  const memoryBytes = MEMORY_BYTES
  const call = { image: ubuntu, memoryBytes, cpus: 0.5, ...part, cmd: ['sh', '-c', LOOK] }
  const result = await bench.run(call)
  assert.equal(result.code, 'FINISHED', result.message + Buffer.from(result.stderr).toString())
  const lines = Buffer.from(result.stdout).toString().trimEnd().split('\n')
  return Object.fromEntries(lines.map((line) => [line.split('=', 1)[0], line.replace(/^\w+=/, '')]))
}

const bitsOf = (mask = ''): number => BigInt(`0x${mask}`).toString(2).replaceAll('0', '').length
const count = (number: number): string => number.toLocaleString('en-US')

const NET_RAW = 13

const capabilities = ({ capabilities: held, bounding }: Facts): string => {
  assert.equal(held, bounding, 'what it has is all that it can get')
  assert.equal((BigInt(`0x${held}`) >> BigInt(NET_RAW)) & 1n, 0n)
  const bits = bitsOf(held)
  return bits === 0 ? 'none' : `${bits}, Docker’s usual without raw sockets`
}

const swap = (found: Facts): string =>
  found.memoryAndSwap === `${MEMORY_BYTES}` || found.swap === '0' ? 'none' : 'some'

const cpus = ({ cpu = '' }: Facts): string => {
  const [quota, period] = cpu.split(' ').map(Number)
  return quota !== undefined && period !== undefined && quota / period === 0.5
    ? 'the size’s'
    : `not the size’s: ${cpu}`
}

const tmp = ({ tmp: found = '' }: Facts): string => {
  const [canWrite, mount = ''] = found.split(' ')
  assert.equal(canWrite, 'yes')
  if (mount === '') return 'a folder of the root'
  const options = mount.split(',')
  const size = options.includes(`size=${limits.strictTmpBytesMax / 1024}k`) ? '64 MB' : mount
  const flags = options.filter((option) => option === 'nosuid' || option === 'nodev')
  return `${size} in ${options[0] === 'tmpfs' ? 'memory' : options[0]}, ${flags.join(', ')}`
}

const hostFiles = ({ hyper = '', binds }: Facts): string => {
  const [mount = '', ...writes] = hyper.split(' ')
  assert.deepEqual(writes, ['no', 'no'], 'nothing can be written to it')
  const form = mount.split(',').includes('ro') ? 'read-only' : 'writable'
  return `\`${binds?.replace(/^(\/\.hyper-)[0-9a-f]{16}$/, '$1…')}\`, ${form}`
}

const openFiles = ({ openFiles: found = '' }: Facts): string => {
  const [soft, hard] = found.split(' ').map(Number)
  return `${count(soft ?? 0)}, up to ${count(hard ?? 0)} on request`
}

const namespaces = async (found: Facts): Promise<string> => {
  const own: string[] = []
  for (const name of NAMESPACES) {
    if (found[name] !== (await readlink(`/proc/self/ns/${name}`))) own.push(name)
  }
  return own.join(' ')
}

/** A row of the table as a container's own findings say it. */
const ROWS: Readonly<Record<string, (found: Facts) => string | Promise<string>>> = {
  capabilities,
  'new privileges (setuid programs)': (found) => (found.noNewPrivileges === '1' ? 'no' : 'yes'),
  'system calls': (found) =>
    found.seccomp === '2' ? 'filtered by the engine’s seccomp profile' : 'unfiltered',
  memory: (found) => (found.memory === `${MEMORY_BYTES}` ? 'the size’s' : `${found.memory}`),
  'swap beyond it': swap,
  CPUs: cpus,
  processes: (found) => `${found.pids}`,
  'open files': openFiles,
  'core dumps': (found) => (found.core === '0 0' ? 'none' : `${found.core}`),
  'namespaces of its own': namespaces,
  root: (found) => (found.root === 'yes' ? 'writable, gone after the call' : 'read-only'),
  '`/tmp`': tmp,
  'shared memory (`/dev/shm`)': (found) => (found.shm === '' ? 'none' : 'its own'),
  network: (found) => (found.interfaces === 'lo' ? 'none' : 'as asked'),
  'user where neither function nor image names one': (found) =>
    ({ '0 0': 'root', '65534 65534': '65534' })[found.user ?? ''] ?? `${found.user}`,
  'the host’s files': hostFiles,
  'the host’s disks': (found) => found.blocks || 'none',
}

for (const profile of PROFILES) {
  test(`a container of profile ${profile} finds what the docs say`, async () => {
    const found = await look({ profile, network: 'bridge' })
    const told = [...rows].map(([what, by]) => [what, by[profile]])
    const seen: [string, string][] = []
    for (const [what, say] of Object.entries(ROWS)) seen.push([what, await say(found)])
    assert.deepEqual(seen, told)
    const { sysctl, cgroups, init, ipv6 } = found
    const nowhere = { sysctl: 'no', cgroups: 'no', init: 'no', ipv6: '' }
    assert.deepEqual({ sysctl, cgroups, init, ipv6 }, nowhere)
  })

  test(`a container of profile ${profile} has no network unless asked for`, async () => {
    assert.equal((await look({ profile, network: 'none' })).interfaces, 'lo')
  })
}

test('a size with more CPUs than the host has gives all of them', async () => {
  const { cpu = '' } = await look({ cpus: 1000 })
  const [quota = 0, period = 1] = cpu.split(' ').map(Number)
  assert.equal(quota / period, availableParallelism())
})
