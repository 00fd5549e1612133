/** A full disk under an agent's outbox: results wait in memory and are written once there is room. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { pino } from 'pino'
import { createActs } from '../../agent/acts.ts'
import { machineClock } from '../../agent/clock.ts'
import { createEffects } from '../../agent/effects.ts'
import { createLull } from '../../agent/lull.ts'
import { openOutbox } from '../../agent/outbox.ts'
import { attemptName } from '../../protocol/call.ts'
import { diskTest, fill, mountSmallDisk } from '../support/disk.ts'
import { eventually } from '../support/eventually.ts'
import { makeResult } from '../support/ledger-words.ts'
import { keyOf } from '../support/outbox-workload.ts'

const unused = (): never => assert.fail('not asked for here')

/** In all less than LevelDB keeps in its log: what was refused must not stand in the way of the rest. */
const RESULT_BYTES = 200_000

const resultOf = (attempt: number) =>
  makeResult(keyOf(attempt), 'FINISHED', { stdout: new Uint8Array(RESULT_BYTES).fill(attempt) })

test(
  'results that a full disk refused are written once there is room, and none before',
  diskTest,
  async (t) => {
    const home = join(await mountSmallDisk(t), 'home')
    const outbox = await openOutbox(home)
    const acts = createActs()
    const written = new Set<string>()
    let refusals = 0
    const log = pino(
      { level: 'warn' },
      {
        write() {
          refusals += 1
        },
      },
    )
    const effects = createEffects(
      {
        ...{ outbox, log, supply: { take: unused, prepare: unused }, nonces: unused },
        lull: createLull(machineClock),
        runner: {
          ...{ start: unused, state: unused, waitForEnd: unused, readLog: unused },
          ...{ remove: unused, list: unused, writtenBytes: unused },
        },
        engine: { facts: () => null, isUp: () => true, onChange: () => () => undefined },
      },
      acts,
      (event) => {
        assert.ok(event.type === 'written')
        written.add(attemptName(event.key))
      },
    )
    const write = (attempt: number): void =>
      effects.perform({ type: 'write', key: keyOf(attempt), result: resultOf(attempt) })

    write(1)
    await eventually(() => written.size === 1)
    const free = await fill(home, 2.5 * RESULT_BYTES)
    const attempts = [2, 3, 4, 5, 6, 7, 8]
    attempts.forEach(write)
    await eventually(() => refusals > 2 * attempts.length)
    const before = written.size
    assert.ok(before <= 3, 'a full disk takes nothing')
    await eventually(() => refusals > 4 * attempts.length)
    assert.equal(written.size, before)
    await free()
    await eventually(() => written.size === 1 + attempts.length)
    await acts.close()
    await outbox.close()

    const again = await openOutbox(home)
    assert.deepEqual((await again.readKept()).damaged, [])
    for (const attempt of [1, ...attempts]) {
      // Not `deepEqual`, which works for minutes to show in what two outputs differ.
      const isSame = isDeepStrictEqual(await again.getResult(keyOf(attempt)), resultOf(attempt))
      assert.ok(isSame, `result ${attempt} is what was written`)
    }
    await again.close()
  },
)
