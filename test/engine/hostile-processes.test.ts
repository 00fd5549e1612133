/** A function that fights its own processes and hyper-init: it ends, and nothing of it lives on. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { limits } from '../../protocol/limits.ts'
import {
  type AttackRow,
  assertEnd,
  type HostileBench,
  openHostileBench,
  processesWith,
  sh,
} from '../support/hostile-bench.ts'

/** Seconds that a process of ours sleeps, and none else: its mark in the list of processes. */
const mark = `86${process.pid}`
/** Beyond the grace: the machine may be busy. */
const SLACK_MS = 25_000

let hostile: HostileBench

before(async () => {
  hostile = await openHostileBench()
})
after(() => hostile.close())

const rows: readonly AttackRow[] = [
  {
    name: 'no signal from inside ends or stops PID 1',
    call: sh(
      'for s in $(seq 1 64); do kill -$s 1; done 2>/dev/null; kill -STOP 1; kill -9 1; sleep 1; echo on',
    ),
    ...{ code: 'FINISHED', exitCode: 0, stdout: 'on\n' },
  },
  {
    name: 'a process that kills all others goes on',
    call: sh(`sleep ${mark} & setsid sleep ${mark} & sleep 0.2; kill -9 -1; echo alone`),
    ...{ code: 'FINISHED', exitCode: 0, stdout: 'alone\n' },
  },
  {
    name: 'a process that kills its whole group has killed itself',
    call: sh(`sleep ${mark} & kill -9 0`),
    ...{ code: 'CALL_SIGNALLED', exitCode: 137 },
  },
  {
    name: 'a process that is killed by its child is told as killed',
    call: sh(`(kill -9 $PPID; kill -9 $$) & exec sleep ${mark}`),
    ...{ code: 'CALL_SIGNALLED', exitCode: 137 },
  },
  {
    name: 'what was left behind in sessions of its own holds up nobody, and is gone',
    call: sh(`deaf='trap "" TERM HUP INT; sleep ${mark} & sleep ${mark} & wait; sleep ${mark}'
      for i in 1 2 3; do setsid sh -c "$deaf" & (setsid sh -c "$deaf" &) ; done
      sleep 0.5; echo done`),
    ...{ code: 'FINISHED', exitCode: 0, stdout: 'done\n' },
  },
]

for (const row of rows) {
  test(row.name, async () => {
    const result = await hostile.attack(row.call, { withinMs: SLACK_MS })
    assertEnd(row, result)
    assert.equal(await processesWith(mark), 0, 'a process of it lives on')
  })
}

test('one that is deaf to signals and stands still is killed after the grace', async () => {
  const script = `trap "" TERM INT HUP QUIT USR1 USR2; sleep ${mark} & kill -STOP $$; sleep ${mark}`
  const result = await hostile.attack(
    { ...sh(script), timeoutMs: 500 },
    { withinMs: 500 + limits.stopGraceMs + SLACK_MS },
  )
  assert.equal(result.code, 'CALL_TIMED_OUT', result.message)
  assert.ok(result.tookMs >= 500 + limits.stopGraceMs)
  assert.equal(await processesWith(mark), 0, 'a process of it lives on')
})
