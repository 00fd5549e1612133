import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import * as cbor from '@ipld/dag-cbor'
import type { Stream } from '@libp2p/interface'
import { limits } from '../../protocol/limits.ts'
import type { Channel } from '../../protocol/mesh/channel.ts'
import type { AgentNode } from '../../protocol/mesh/node.ts'
import {
  AGENT_PROTOCOL,
  type AgentMessage,
  type CoordinatorMessage,
} from '../../protocol/messages.ts'
import { eventually } from '../support/eventually.ts'
import { heartbeat, openPair, renewed, startMesh } from '../support/mesh.ts'

const megabyte = 1_048_576
/** What does not move for so long stands still. */
const STILL_MS = 200
const key = { call: '01234567-89ab-4def-8123-456789abcdef', attempt: 1, epoch: 1 }

const result = (stdout: Uint8Array): AgentMessage => ({
  type: 'result',
  session: 1,
  key,
  result: {
    code: 'FINISHED',
    started: true,
    exitCode: 0,
    message: '',
    stdout,
    stderr: new Uint8Array(),
    startMs: 1,
    runMs: 1,
  },
})

const assign = (payload: Uint8Array): CoordinatorMessage => ({
  type: 'assign',
  session: 1,
  epoch: 1,
  assignment: {
    key,
    func: { id: 'f', name: 'f', revision: 1 },
    image: { reference: 'hello', digest: 'sha256:0', id: 'sha256:0' },
    entrypoint: null,
    cmd: null,
    environment: [],
    workingDir: '',
    user: '',
    stopSignal: 'SIGTERM',
    network: 'none',
    runtime: '',
    profile: 'default',
    memoryBytes: 1,
    cpus: 1,
    timeoutMs: 0,
    atMostOnce: false,
    payload,
  },
})

const take = async <In>(channel: Channel<never, In>, count: number): Promise<In[]> => {
  const taken: In[] = []
  for await (const message of channel.messages) {
    taken.push(message)
    if (taken.length === count) break
  }
  return taken
}

/** The stream under an agent's channel. */
const agentStream = (agent: AgentNode): Stream => {
  const streams = agent.libp2p.getConnections().flatMap((connection) => connection.streams)
  const stream = streams.find(({ protocol }) => protocol === AGENT_PROTOCOL)
  assert.ok(stream !== undefined)
  return stream
}

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
