/** The part of the runners' suite about bounds and fences, as they are seen from inside. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Fence } from '../../agent/host-config.ts'
import { limits } from '../../protocol/limits.ts'
import { call, outputOf, sh, soon, startCall } from './runner-call.ts'
import type { RunnerBench } from './runner-suite.ts'

const MiB = 1024 * 1024
const NET_RAW = 1n << 13n

/** Control groups are read in both of the kernel's forms. */
const LOOK = `
group() { for f in "$@"; do cat /sys/fs/cgroup/$f 2>/dev/null && return; done; echo none; }
status() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status; }
can() { if "$@" 2>/dev/null >&2; then echo yes; else echo no; fi; }
mounted() { awk -v p="$1" '$2 == p { print $3 }' /proc/mounts | tail -n 1; }
echo memory=$(group memory/memory.limit_in_bytes memory.max)
echo cpu=$(group cpu/cpu.cfs_quota_us cpu.max) $(group cpu/cpu.cfs_period_us)
echo pids=$(group pids/pids.max pids.max)
echo files=$(ulimit -Sn) $(ulimit -Hn)
echo core=$(ulimit -Sc) $(ulimit -Hc)
echo bounding=$(status CapBnd)
echo effective=$(status CapEff)
echo noNewPrivileges=$(status NoNewPrivs)
echo seccomp=$(status Seccomp)
echo root=$(can touch /x)
echo tmp=$(can touch /tmp/x) $(mounted /tmp)
echo shm=$(mounted /dev/shm)
echo interfaces=$(ls /sys/class/net)
echo sysctl=$(can sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward')
place=$(echo /.hyper-*)
echo init=$(test -d $place && can touch $place/x)
echo blocks=$(find /dev -type b)
echo kcore=$(head -c 1 /proc/kcore 2>/dev/null | wc -c)
echo processes=$(ls -d /proc/[0-9]* | wc -l)
`

export const testFences = (open: () => Promise<RunnerBench>): void => {
  const look = async (fence: Partial<Fence>): Promise<Readonly<Record<string, string>>> => {
    const { runner, images } = await open()
    const output = await outputOf(runner, images.ubuntu, { ...sh(LOOK), fence })
    const rows = output.trimEnd().split('\n')
    return Object.fromEntries(rows.map((row) => [row.split('=', 1)[0], row.replace(/^\w+=/, '')]))
  }

  test('a container has the memory, the CPUs, the processes and the files of its size', async () => {
    const found = await look({ memoryBytes: 96 * MiB, cpus: 0.5 })
    assert.equal(found.memory, `${96 * MiB}`)
    const [quota = 0, period = 0] = (found.cpu ?? '').split(' ').map(Number)
    assert.equal(quota / period, 0.5, found.cpu)
    assert.equal(found.pids, `${limits.pidsMax}`)
    assert.equal(found.files, `${limits.openFilesSoft} ${limits.openFilesHard}`)
    assert.equal(found.core, '0 0')
  })

  test('nothing gets more CPUs than the host has', async () => {
    const { cpu = '' } = await look({ cpus: 1000 })
    const [quota = 0, period = 0] = cpu.split(' ').map(Number)
    assert.ok(period > 0 && quota > 0 && quota / period < 1000, cpu)
  })

  for (const profile of ['default', 'strict', 'compat'] as const) {
    test(`the profile ${profile} fences in as it says`, async () => {
      const found = await look({ profile })
      const isCompat = profile === 'compat'
      const isStrict = profile === 'strict'
      const bounding = BigInt(`0x${found.bounding}`)
      assert.equal(bounding !== 0n, isCompat, found.bounding)
      assert.equal(bounding & NET_RAW, 0n)
      assert.equal(found.effective, found.bounding)
      assert.equal(found.noNewPrivileges, isCompat ? '0' : '1')
      assert.equal(found.seccomp, '2')
      assert.equal(found.root, isStrict ? 'no' : 'yes')
      assert.equal(found.tmp, isStrict ? 'yes tmpfs' : 'yes')
      assert.equal(found.shm, isStrict ? '' : 'tmpfs')
      assert.equal(found.interfaces, 'lo')
      assert.equal(found.sysctl, 'no')
      assert.equal(found.init, 'no')
      assert.equal(found.blocks, '')
      assert.equal(found.kcore, '0')
      assert.ok(Number(found.processes) < 10, 'it sees its own processes alone')
    })
  }

  test('a process that takes more memory than there is dies, and the state says of what', async () => {
    const { runner, images } = await open()
    const greedy = { argv: ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=200M', 'count=1'] }
    const { trailer, state } = await call(runner, images.ubuntu, greedy)
    assert.deepEqual(trailer, { reason: 'signalled', bySignal: true, status: 9 })
    assert.equal(state?.oomKilled, true)
  })

  test('one that is killed without need of memory is not said to lack it', async () => {
    const { runner, images } = await open()
    const { state } = await call(runner, images.ubuntu, sh('kill -9 $$'))
    assert.equal(state?.oomKilled, false)
  })

  test('processes beyond the bound are refused, and the call goes on', async () => {
    const script = `for i in $(seq ${limits.pidsMax * 2}); do sleep 60 & done 2>/dev/null; exit 9`
    const { runner, images } = await open()
    const { trailer, stderr } = await call(runner, images.ubuntu, sh(`${script}`))
    assert.equal(trailer.reason, 'exited')
    // busybox gives up the script at the first fork that fails.
    assert.notEqual(trailer.status, 9, stderr.toString())
  })

  test('what a call wrote is measured, or bounded by its memory', async () => {
    const { runner, images } = await open()
    const spec = sh(
      'dd if=/dev/zero of=/file bs=1M count=200 2>/dev/null; stat -c %s /file; read -r x',
    )
    const writing = await startCall(runner, images.ubuntu, spec)
    writing.send()
    await writing.told.catch(() => undefined)
    const written = await runner.writtenBytes(writing.container.id, soon())
    const size = Number(Buffer.from(writing.stdout.body()).toString().trim() || 0)
    assert.ok(written >= size || size <= 64 * MiB, `${written} of ${size} bytes`)
    writing.container.detach()
    await runner.remove(writing.container.id, soon())
    assert.equal(await runner.writtenBytes(writing.container.id, soon()), 0)
  })
}
