/** What a channel holds in memory while large messages go both ways to receivers that are slow. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { limits } from '../../protocol/limits.ts'
import type { Channel } from '../../protocol/mesh/channel.ts'
import type { AgentMessage, CoordinatorMessage } from '../../protocol/messages.ts'
import { assignmentOf } from '../support/agent-model.ts'
import { assign } from '../support/channel.ts'
import { MiB, makeResult } from '../support/ledger-words.ts'
import { startLongLine } from '../support/long-line.ts'
import { openPair, startMesh } from '../support/mesh.ts'

const MESSAGES = 64
/** A receiver that takes one message in this time is much slower than the line. */
const SLOW_MS = 10

/** A look at the memory collects all that is garbage: it costs more than a message. */
const LOOK_EVERY = 8

/**
 * Of one direction: what the stream was given, its window, the inbox, one message above each bound, and
 * what codec, TLS and sockets have in work at both ends. Without bounds it would be all 64 MB.
 */
const HELD_BYTES_MAX =
  limits.streamUnsentBytesMax +
  limits.streamWindowBytesMax +
  limits.channelInboxBytesMax +
  2 * MiB +
  10 * MiB

const createMeter = () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const measure = (): { buffers: number; rss: number } => {
    // The second ends what the first left to other threads.
    collect()
    collect()
    const { arrayBuffers, rss } = process.memoryUsage()
    return { buffers: arrayBuffers, rss }
  }
  return measure
}

test('64 messages of 1 MB both ways to slow receivers take a bounded part of their memory', async (t) => {
  const { mine, theirs } = await openPair(await startMesh(t))
  const measure = createMeter()
  // All messages share their bytes: what grows is held by the channels.
  const payload = new Uint8Array(MiB)
  const assignment = { ...assignmentOf(1), payload }
  const result = makeResult(assignment.key, 'FINISHED', { stdout: payload })
  const order: CoordinatorMessage = { type: 'assign', session: 1, epoch: 1, assignment }
  const report: AgentMessage = { type: 'result', session: 1, key: assignment.key, result }
  const before = measure()
  const sending = Promise.all(
    Array.from({ length: MESSAGES }, () => [theirs.send(order), mine.send(report)]).flat(),
  )
  let held = 0
  let grown = 0
  const takeSlowly = async <In>(from: Channel<never, In>): Promise<void> => {
    for (let taken = 0; taken < MESSAGES; taken += 1) {
      await pause(SLOW_MS)
      await from.messages.next()
      if (taken % LOOK_EVERY !== 0) continue
      const now = measure()
      held = Math.max(held, now.buffers - before.buffers)
      grown = Math.max(grown, now.rss - before.rss)
    }
  }
  await Promise.all([takeSlowly(mine), takeSlowly(theirs)])
  await sending.catch(async (cause: unknown) => {
    const ends = await Promise.all([mine.closed, theirs.closed])
    throw new Error(`it broke: ${ends.map(String).join('; ')}`, { cause })
  })
  const told = (bytes: number): string => `${(bytes / MiB).toFixed(1)} MiB`
  t.diagnostic(`held ${told(held)}, bound ${told(2 * HELD_BYTES_MAX)}; RSS grew ${told(grown)}`)
  assert.ok(held <= 2 * HELD_BYTES_MAX, `${told(held)} held`)
  assert.ok(held > MiB, 'the meter sees what is held')
})

/** Here and back a tenth of a second: yamux opens its window as far as it may. */
const LONG_LINE_MS = 50

/** One message in this time: its line brings a whole window meanwhile. */
const SLOWER_MS = 150
const FEWER = 24

test('a receiver that is slow at the end of a long line gets all messages, and breaks nothing', async (t) => {
  const mesh = await startMesh(t)
  const [address = ''] = mesh.node.addresses()
  const { mine, theirs } = await openPair(mesh, [await startLongLine(t, address, LONG_LINE_MS)])
  const block = new Uint8Array(MiB)
  const order = assign(block)
  const sends = Array.from({ length: FEWER }, () => theirs.send(order))
  const sending = Promise.allSettled(sends)
  let taken = 0
  for await (const message of mine.messages) {
    assert.equal(message.type, 'assign')
    taken += 1
    if (taken === FEWER) break
    await pause(SLOWER_MS)
  }
  const failed = (await sending).find((send) => send.status === 'rejected')
  assert.equal(failed, undefined, String(failed?.reason))
  assert.equal(taken, FEWER)
})
