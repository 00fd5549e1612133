/** A function that abuses its streams: what it wrote comes byte for byte, and its end is its own. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { TRAILER_BYTES } from '../../agent/init/marks.ts'
import { createNonces, loadSecret } from '../../agent/nonces.ts'
import { limits } from '../../protocol/limits.ts'
import { createAgentBench } from '../support/agent-bench.ts'
import { eventually } from '../support/eventually.ts'
import {
  type AttackRow,
  assertEnd,
  type Bounds,
  type HostileBench,
  openHostileBench,
  sh,
  text,
} from '../support/hostile-bench.ts'

const MiB = 1024 * 1024
const READY_MS = 30_000
const FORGERIES = 10_000

let hostile: HostileBench

before(async () => {
  hostile = await openHostileBench()
})
after(() => hostile.close())

interface Row extends AttackRow {
  readonly stderrBytes?: number
  readonly bounds?: Bounds
}

const rows: readonly Row[] = [
  {
    name: 'a flood of both streams at once is ended soon, and none of it stays in memory',
    call: { ...sh('cat /dev/zero >&2 & exec cat /dev/zero'), timeoutMs: 120_000 },
    code: 'OUTPUT_TOO_LARGE',
    bounds: { withinMs: 25_000, grownBytesMax: 64 * MiB },
  },
  {
    name: 'a flood of STDERR runs to its end, and little of it is kept',
    call: sh('head -c 40000000 /dev/zero >&2; echo done'),
    ...{ code: 'FINISHED', stdout: 'done\n', stderrBytes: limits.stderrBytesMax },
    bounds: { grownBytesMax: 64 * MiB },
  },
  {
    name: 'a flood of tiny writes comes whole',
    call: sh('i=0; while [ $i -lt 20000 ]; do echo x; i=$((i + 1)); done'),
    ...{ code: 'FINISHED', stdout: 'x\n'.repeat(20_000) },
  },
  {
    name: 'a process that closed all its streams runs on and has its exit code',
    call: sh('exec >&- 2>&- <&-; sleep 1; exit 5'),
    ...{ code: 'CALL_EXITED', exitCode: 5, stdout: '', stderrBytes: 0 },
  },
  {
    name: 'a process that closed all its streams still times out',
    call: { ...sh('exec >&- 2>&- <&-; exec sleep 60'), timeoutMs: 1000 },
    code: 'CALL_TIMED_OUT',
  },
  {
    name: 'a process that closes its STDIN with a megabyte to come is not held up',
    call: {
      ...sh('exec <&-; echo closed; sleep 0.5; exit 3'),
      payload: randomBytes(limits.payloadBytesMax),
    },
    ...{ code: 'CALL_EXITED', exitCode: 3, stdout: 'closed\n' },
  },
]

for (const row of rows) {
  test(row.name, async () => {
    const result = await hostile.attack(row.call, row.bounds)
    assertEnd(row, result)
    if (row.stderrBytes !== undefined) assert.equal(result.stderr.length, row.stderrBytes)
  })
}

test('what reads its own STDOUT robs itself alone', async () => {
  const script = `exec 3</proc/self/fd/1; cat <&3 >/dev/null & head -c 500000 /dev/zero; exit 4`
  const result = await hostile.attack(sh(script))
  // Where it got the header, nothing proves what follows.
  assert.ok(['CALL_EXITED', 'AGENT_LOST'].includes(result.code), result.message)
  assert.ok(result.stdout.length <= 500_000)
})

/** Nonces that no function knows: what it could do at the most by guessing nearly all of them. */
const forgeries = (header: Uint8Array, trailer: Uint8Array): Buffer => {
  const parts: Uint8Array[] = [header, randomBytes(TRAILER_BYTES)]
  const wrong = Uint8Array.from(trailer)
  wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1
  for (let index = 0; index < FORGERIES; index += 1) {
    // All but the last byte; the whole nonce, but an end that there is not; part of it.
    if (index % 3 === 0) parts.push(wrong, Uint8Array.of(1, 0, 0, 0))
    else if (index % 3 === 1) parts.push(trailer, Uint8Array.of(index % 2 === 0 ? 0 : 200, 2, 0, 0))
    else parts.push(trailer.subarray(0, 1 + (index % 15)))
  }
  return Buffer.concat([...parts, trailer.subarray(0, 15)])
}

test('forged headers and trailers are bytes like all others', async () => {
  const bench = await createAgentBench({ ready: 1 })
  try {
    await bench.open()
    await bench.connect()
    const image = await bench.pin('ubuntu')
    bench.prepare({ image })
    await eventually(() => bench.premises().pool.ready().size > 0, READY_MS)
    const [id = ''] = await bench.containers()
    const nonces = createNonces(await loadSecret(bench.home))(id)
    const header = Buffer.concat([Buffer.from('\x89HYHDR1\n', 'latin1'), nonces.headerNonce])
    const payload = forgeries(header, nonces.trailerNonce)
    assert.ok(payload.length <= limits.payloadBytesMax)
    // STDERR is too long to be kept; what follows it is found nevertheless.
    const cmd = ['sh', '-c', 'tee /dev/stderr; cat /etc/hostname; exit 6']
    const result = await bench.run({ image, cmd, payload })
    assert.deepEqual([result.code, result.exitCode], ['CALL_EXITED', 6], result.message)
    const body = Buffer.from(result.stdout)
    assert.ok(body.subarray(0, payload.length).equals(payload))
    assert.equal(text(body.subarray(payload.length)).trim(), id.slice(0, 12), 'it ran in that one')
  } finally {
    await bench.close()
  }
})
