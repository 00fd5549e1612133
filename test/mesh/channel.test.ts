import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { limits } from '../../protocol/limits.ts'
import type { AgentMessage, CoordinatorMessage } from '../../protocol/messages.ts'
import { agentStream, assign, megabyte, result, take } from '../support/channel.ts'
import { eventually } from '../support/eventually.ts'
import { heartbeat, openPair, renewed, startMesh } from '../support/mesh.ts'

/** What does not move for so long stands still. */
const STILL_MS = 200

/** Of large messages by their hash: a difference is told in a line. */
const brief = (message: AgentMessage | CoordinatorMessage): string => {
  if (message.type === 'result') return `result ${hashOf(message.result.stdout)}`
  if (message.type === 'assign') return `assign ${hashOf(message.assignment.payload)}`
  return `${message.type} ${'session' in message ? message.session : ''}`
}

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const isSmall = (message: string): boolean => /^(heartbeat|renewed)/.test(message)

test('messages go both ways unchanged, large and small ones each in their order', async (t) => {
  const { mine, theirs } = await openPair(await startMesh(t))
  const blocks = Array.from({ length: 5 }, () => new Uint8Array(randomBytes(megabyte)))
  const up = blocks.flatMap((block, n) => [heartbeat(n), result(block), heartbeat(n + 100)])
  const down = blocks.flatMap((block, n) => [renewed(n), assign(block), renewed(n + 100)])
  const [received, answered] = await Promise.all([
    take(theirs, up.length),
    take(mine, down.length),
    Promise.all(up.map(mine.send)),
    Promise.all(down.map(theirs.send)),
  ])
  for (const [came, sent] of [
    [received.map(brief), up.map(brief)],
    [answered.map(brief), down.map(brief)],
  ] as const) {
    assert.deepEqual(came.filter(isSmall), sent.filter(isSmall))
    assert.deepEqual(
      came.filter((message) => !isSmall(message)),
      sent.filter((message) => !isSmall(message)),
    )
  }
})

/** Of 1 MB each: what a stream, its window and an untaken inbox hold at the most, and some room. */
const ON_THE_LINE = 10

test('a small message overtakes all that the stream has not got yet, both ways', async (t) => {
  const { mine, theirs } = await openPair(await startMesh(t))
  const block = new Uint8Array(megabyte)
  const ups = Array.from({ length: 64 }, () => mine.send(result(block)))
  const downs = Array.from({ length: 64 }, () => theirs.send(assign(block)))
  // Behind all of them, with the stream as full as it gets.
  await Promise.all([ups[0], downs[0]])
  const late = [mine.send(heartbeat(1)), theirs.send(renewed(1))]
  const [received, answered] = await Promise.all([take(theirs, 65), take(mine, 65)])
  await Promise.all([...ups, ...downs, ...late])
  const places = [
    received.findIndex(({ type }) => type === 'heartbeat'),
    answered.findIndex(({ type }) => type === 'renewed'),
  ]
  for (const place of places) assert.ok(place >= 0 && place <= ON_THE_LINE, `came as ${place}`)
})

test('an agent that takes nothing holds up itself only', async (t) => {
  const mesh = await startMesh(t)
  const slow = await openPair(mesh)
  const quick = await openPair(mesh)
  const block = new Uint8Array(megabyte)
  const stuck = Promise.allSettled(
    Array.from({ length: 64 }, () => slow.theirs.send(assign(block))),
  )
  for (let n = 0; n < 5; n += 1) {
    const sending = [quick.theirs.send(assign(block)), quick.mine.send(result(block))]
    assert.equal((await take(quick.mine, 1))[0]?.type, 'assign')
    assert.equal((await take(quick.theirs, 1))[0]?.type, 'result')
    await Promise.all(sending)
  }
  slow.theirs.abort(new Error('enough'))
  assert.ok(
    (await stuck).some(({ status }) => status === 'rejected'),
    'it was stuck all the time',
  )
})

test('a channel on which more messages wait than it may hold ends', async (t) => {
  const { mine, theirs } = await openPair(await startMesh(t))
  const sends = Array.from({ length: limits.channelWaitingMax + 1 }, () => theirs.send(renewed(1)))
  const ends = await Promise.allSettled(sends)
  assert.ok(ends.some(({ status }) => status === 'rejected'))
  const reason = await theirs.closed
  assert.ok(reason instanceof Error && /takes none/.test(reason.message))
  assert.ok((await mine.closed) instanceof Error)
})

test('a burst of small messages arrives in order', async (t) => {
  const { mine, theirs } = await openPair(await startMesh(t))
  const sent = Array.from({ length: 5000 }, (_, n) => heartbeat(n))
  const sending = Promise.all(sent.map(mine.send))
  assert.deepEqual(await take(theirs, sent.length), sent)
  await sending
})

test('a sender holds no more than its bound, however much it is given', async (t) => {
  const { agent, mine, theirs } = await openPair(await startMesh(t))
  const block = new Uint8Array(megabyte)
  const sending = Promise.all(Array.from({ length: 60 }, () => mine.send(result(block))))
  let unsentBytesMax = 0
  for (let taken = 0; taken < 60; taken += 1) {
    await theirs.messages.next()
    unsentBytesMax = Math.max(unsentBytesMax, agentStream(agent).writeBufferLength)
  }
  await sending
  const bound = limits.streamUnsentBytesMax + limits.channelBatchBytesMax + limits.messageBytesMax
  assert.ok(unsentBytesMax <= bound, `${unsentBytesMax} bytes unsent`)
})

test('a receiver that does not take makes the sender wait, and then has everything', async (t) => {
  const { mine, theirs } = await openPair(await startMesh(t))
  // While all is taken the window grows to its full size.
  const flowing = Array.from({ length: 20 }, () => mine.send(result(new Uint8Array(megabyte))))
  await take(theirs, 20)
  await Promise.all(flowing)
  const digests: string[] = []
  let sent = 0
  const sending = (async () => {
    for (let n = 0; n < 20; n += 1) {
      const block = new Uint8Array(randomBytes(megabyte))
      digests.push(createHash('sha256').update(block).digest('hex'))
      await mine.send(result(block))
      sent += 1
    }
  })()
  // The sender stands still: nothing moves for a while, though it is not done.
  let before = { bytes: -1, sinceMs: performance.now() }
  await eventually(() => {
    const bytes = theirs.bytesReceived()
    if (bytes !== before.bytes) before = { bytes, sinceMs: performance.now() }
    return performance.now() - before.sinceMs >= STILL_MS
  })
  assert.ok(sent > 0 && sent < 15, `sent ${sent} of 20`)
  const received = await take(theirs, 20)
  await sending
  const hashes = received.map((message) => {
    assert.equal(message.type, 'result')
    return createHash('sha256').update(message.result.stdout).digest('hex')
  })
  assert.deepEqual(hashes, digests)
})

test('a full stand-still in one direction does not hold up the other', async (t) => {
  const { mine, theirs } = await openPair(await startMesh(t))
  const blocks = Array.from({ length: 20 }, () => new Uint8Array(megabyte))
  const sending = Promise.allSettled(blocks.map((block) => mine.send(result(block))))
  await theirs.send(renewed(1))
  assert.deepEqual(await take(mine, 1), [renewed(1)])
  mine.abort(new Error('enough'))
  const ends = await sending
  assert.ok(ends.some((end) => end.status === 'rejected'))
  assert.ok((await theirs.closed) instanceof Error)
})
