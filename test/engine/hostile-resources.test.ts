/** A function that takes all it can get: it gets its size, and what ends it is its own outcome. */

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import type { AttemptResult } from '../../protocol/call.ts'
import { limits } from '../../protocol/limits.ts'
import type { Assignment } from '../../protocol/messages.ts'
import {
  type HostileBench,
  openHostileBench,
  runProgram,
  sh,
  text,
} from '../support/hostile-bench.ts'
import { builtProgram } from '../support/init-builds.ts'

const MiB = 1024 * 1024
/** Other programs of this machine come and go meanwhile; a bomb without a bound makes thousands. */
const OTHERS_MAX = 300

let hostile: HostileBench
let greedy: Buffer

before(async () => {
  greedy = await readFile(await builtProgram('greedy', ['-static', '-s']))
  hostile = await openHostileBench()
})
after(() => hostile.close())

const BOMB = 'bomb() { bomb | bomb & }; (bomb) 2>/dev/null &'

interface Row {
  readonly name: string
  readonly call: Partial<Assignment>
  /** Runs the greedy program, with this argument. */
  readonly greedy?: string
  readonly code: AttemptResult['code']
  readonly stdout?: RegExp
}

const rows: readonly Row[] = [
  {
    name: 'a fork bomb beside a process that waits ends at its timeout',
    call: { ...sh(`${BOMB} exec sleep 60`), timeoutMs: 2000 },
    code: 'CALL_TIMED_OUT',
  },
  {
    name: 'a fork bomb whose first process ends is ended with it',
    call: sh(`${BOMB} echo lit; exec sleep 1`),
    ...{ code: 'FINISHED', stdout: /^lit\n$/ },
  },
  {
    name: 'memory that many processes take is the call’s all the same',
    call: sh(`grow() { x=aaaaaaaa; while :; do x=$x$x; done; }
      for i in $(seq 20); do grow & done; grow`),
    code: 'CALL_OUT_OF_MEMORY',
  },
  {
    name: 'children that are killed for memory are told to the one that waits for them',
    call: sh(`for i in $(seq 12); do dd if=/dev/zero of=/dev/null bs=16M count=100 & all="$all $!"; done
      for one in $all; do wait $one || killed=yes; done 2>/dev/null; echo killed=$killed; exit 9`),
    ...{ code: 'CALL_EXITED', stdout: /^killed=yes\n$/ },
  },
  {
    name: 'files in shared memory are memory',
    call: { ...sh('exec dd if=/dev/zero of=/dev/shm/x bs=1M'), memoryBytes: 32 * MiB },
    code: 'CALL_OUT_OF_MEMORY',
  },
  {
    name: 'files in the /tmp of a strict function are memory',
    call: {
      ...sh('exec dd if=/dev/zero of=/tmp/x bs=1M'),
      ...{ memoryBytes: 32 * MiB, profile: 'strict' },
    },
    code: 'CALL_OUT_OF_MEMORY',
  },
  {
    name: 'descriptors end at their bound, and what is in them is memory',
    greedy: 'descriptors',
    call: { memoryBytes: 512 * MiB },
    ...{ code: 'FINISHED', stdout: /^4\d{3} Too many open files\n$/ },
  },
  {
    name: 'files without an end and without a byte end at the timeout',
    greedy: 'files',
    call: { timeoutMs: 2000 },
    // Where the root is in memory, so is what the kernel knows of a file.
    code: process.env.HYPER_TEST_RUNNER === 'oci' ? 'CALL_OUT_OF_MEMORY' : 'CALL_TIMED_OUT',
  },
  {
    name: 'folders in folders, deeper than any path, are removed with the container',
    greedy: 'folders',
    call: {},
    ...{ code: 'FINISHED', stdout: /^3000\n$/ },
  },
  {
    name: 'a file that only says that it is large takes nothing',
    call: sh('truncate -s 1G /large && stat -c "%s %b" /large'),
    ...{ code: 'FINISHED', stdout: /^1073741824 0\n$/ },
  },
  {
    name: 'limits that it lowers for its PID 1 do not keep its end from being told',
    greedy: 'init',
    call: {},
    ...{ code: 'FINISHED', stdout: /^[1-9]\d*\n$/ },
  },
  {
    name: 'CPU time that it denies its PID 1 ends its container, which is no result of it',
    greedy: 'time',
    call: { timeoutMs: 60_000 },
    code: 'AGENT_LOST',
  },
  {
    name: 'a thousand orphans are reaped beside the call',
    greedy: 'orphans',
    call: {},
    ...{ code: 'FINISHED', stdout: /^1000\n$/ },
  },
  {
    name: 'arguments and environment at their bounds arrive',
    call: {
      cmd: ['sh', '-c', 'echo $# $(printf %s "$LONG" | wc -c)', 'sh', ...Array(30_000).fill('a')],
      environment: [`LONG=${'x'.repeat(limits.environmentBytesMax - 6)}`],
    },
    ...{ code: 'FINISHED', stdout: /^30000 65530\n$/ },
  },
]

for (const row of rows) {
  test(row.name, async () => {
    const program = row.greedy === undefined ? {} : runProgram(greedy, 'default', row.greedy)
    const result = await hostile.attack({ ...program, ...row.call })
    assert.equal(result.code, row.code, result.message + text(result.stderr))
    if (row.stdout !== undefined) assert.match(text(result.stdout), row.stdout)
    assert.ok(result.processes <= limits.pidsMax + OTHERS_MAX, `${result.processes} processes`)
  })
}
