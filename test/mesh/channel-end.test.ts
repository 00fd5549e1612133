import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import * as cbor from '@ipld/dag-cbor'
import { AGENT_PROTOCOL } from '../../protocol/messages.ts'
import { agentStream, assign, megabyte, result, take } from '../support/channel.ts'
import { eventually } from '../support/eventually.ts'
import { heartbeat, openPair, renewed, startMesh } from '../support/mesh.ts'

/** What does not move for so long stands still. */
const STILL_MS = 100
const OPEN_MS = 5000
/** Several of them fill an inbox, and several its window. */
const SOME_BYTES = 300_000

test('closing sends what waits; both sides see an orderly end', async (t) => {
  const { mine, theirs } = await openPair(await startMesh(t))
  const sends = [mine.send(result(new Uint8Array(megabyte))), mine.send(heartbeat(2))]
  const received = take(theirs, 3)
  await mine.close()
  await Promise.all(sends)
  assert.equal(await mine.closed, null)
  assert.equal(await theirs.closed, null)
  assert.deepEqual(
    (await received).map((message) => message.type),
    ['heartbeat', 'result'],
  )
  await assert.rejects(mine.send(heartbeat(3)), { code: 'UNREACHABLE' })
  await assert.rejects(theirs.send(renewed(3)), { code: 'UNREACHABLE' })
  assert.deepEqual(await mine.messages.next(), { done: true, value: undefined })
})

test('the coordinator’s close is an orderly end, too, and ends the connection', async (t) => {
  const mesh = await startMesh(t)
  const { agent, mine, theirs } = await openPair(mesh)
  await theirs.send({ type: 'goodbye', code: 'VERSION_MISMATCH', message: 'too old' })
  await theirs.close()
  assert.equal(await mine.closed, null)
  const { value } = await mine.messages.next()
  assert.equal(value?.type, 'goodbye')
  await eventually(() => agent.libp2p.getConnections().length === 0)
  await eventually(() => mesh.node.libp2p.getConnections().length === 0)
})

test('closing is done in time when the other side takes nothing', async (t) => {
  const { mine, theirs } = await openPair(await startMesh(t))
  const sends = Array.from({ length: 20 }, () => mine.send(result(new Uint8Array(megabyte))))
  const ends = Promise.allSettled(sends)
  await mine.close()
  assert.ok((await ends).some((end) => end.status === 'rejected'))
  assert.ok((await theirs.closed) instanceof Error)
})

test('an aborted channel is an error on both sides', async (t) => {
  const { mine, theirs } = await openPair(await startMesh(t))
  const reason = new Error('silent for too long')
  theirs.abort(reason)
  assert.equal(await theirs.closed, reason)
  assert.ok((await mine.closed) instanceof Error)
  assert.deepEqual(await mine.messages.next(), { done: true, value: undefined })
  await assert.rejects(theirs.send(renewed(1)), reason)
})

test('a connection that breaks is noticed on both sides', async (t) => {
  const { agent, mine, theirs } = await openPair(await startMesh(t))
  await agent.stop()
  assert.ok((await mine.closed) instanceof Error)
  assert.ok((await theirs.closed) instanceof Error)
})

test('a message that does not parse closes the channel', async (t) => {
  const wrong = [
    Uint8Array.of(),
    Uint8Array.of(0xff, 0xff),
    cbor.encode({ type: 'nonsense' }),
    cbor.encode({ type: 'heartbeat', session: -1, attempts: [] }),
  ]
  const mesh = await startMesh(t)
  for (const bytes of wrong) {
    const { agent, mine, theirs } = await openPair(mesh)
    await mine.send(heartbeat(1))
    agentStream(agent).send(Uint8Array.of(bytes.byteLength, ...bytes))
    const reason = await theirs.closed
    assert.ok(reason instanceof Error && 'code' in reason)
    assert.equal(reason.code, 'BAD_PARAMETER')
    assert.ok((await mine.closed) instanceof Error)
    assert.deepEqual(await take(theirs, 2), [heartbeat(1)])
  }
})

test('a message that is announced too long closes the channel before it is read', async (t) => {
  const { agent, theirs } = await openPair(await startMesh(t))
  agentStream(agent).send(Uint8Array.of(0xff, 0xff, 0xff, 0x7f))
  assert.ok((await theirs.closed) instanceof Error)
})

test('a message that cannot be sent fails alone', async (t) => {
  const { mine, theirs } = await openPair(await startMesh(t))
  const tooLong = mine.send(result(new Uint8Array(4 * megabyte)))
  const next = mine.send(heartbeat(1))
  await assert.rejects(tooLong, { code: 'INTERNAL' })
  await next
  assert.deepEqual(await take(theirs, 1), [heartbeat(1)])
})

test('what was received before the line broke can be taken after it, to the last whole message', async (t) => {
  const { agent, mine, theirs } = await openPair(await startMesh(t))
  const stream = agentStream(agent)
  const sends = Array.from({ length: 20 }, () => theirs.send(assign(new Uint8Array(SOME_BYTES))))
  const ends = Promise.allSettled(sends)
  // Nobody takes: the inbox is full, the stream paused, its window used up.
  const received = (): number => mine.bytesReceived() + stream.readBufferLength
  let before = -1
  await eventually(async () => {
    const isStill = received() === before && stream.readStatus === 'paused'
    before = received()
    await pause(STILL_MS)
    return isStill
  })
  assert.ok(stream.readBufferLength > 0, 'some of it lies before the pause')
  theirs.abort(new Error('it breaks'))
  await eventually(() => stream.status === 'reset')
  let taken = 0
  for await (const message of mine.messages) {
    assert.equal(message.type === 'assign' && message.assignment.payload.byteLength, SOME_BYTES)
    taken += 1
  }
  await ends
  assert.equal(taken, Math.floor(before / SOME_BYTES))
  assert.ok((await mine.closed) instanceof Error)
})

for (const [what, bytes] of [
  ['a message that is cut short', [100, 1, 2, 3]],
  ['a length alone', [100]],
  ['a length beyond all bounds', [0x80, 0x80, 0x80, 0x20, 1]],
  ['an empty message', [0]],
] as const) {
  test(`${what} before the end of a stream is no orderly end`, async (t) => {
    const mesh = await startMesh(t)
    const agent = await mesh.member()
    const connection = await agent.whereabouts.reach(AbortSignal.timeout(OPEN_MS))
    const stream = await connection.newStream(AGENT_PROTOCOL)
    stream.send(Uint8Array.from(bytes))
    await stream.close().catch(() => undefined)
    const channel = await eventually(() => mesh.channels[0])
    const reason = await channel.closed
    assert.ok(reason instanceof Error && 'code' in reason)
    assert.equal(reason.code, 'BAD_PARAMETER')
  })
}
