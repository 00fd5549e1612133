/** What gossip drops in silence, and how it is noticed. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { onAdvert, publishAdvert } from '../../protocol/mesh/adverts.ts'
import { openAgentChannel } from '../../protocol/mesh/agent-channel.ts'
import { watchMembers } from '../../protocol/mesh/watch.ts'
import { ADVERT_TOPIC } from '../../protocol/messages.ts'
import { eventually } from '../support/eventually.ts'
import { advertOf, openPair, startMesh } from '../support/mesh.ts'

const SILENCE_MS = 500

test('an agent never publishes a frame that would silence it', async (t) => {
  const mesh = await startMesh(t)
  const { agent } = await openPair(mesh)
  const ready = Array.from({ length: limits.advertReadyMax }, (_, n) => ({
    key: String(n).padStart(limits.readyKeyCharsMax, 'k'),
    count: limits.slotsMax,
  }))
  const images = Array.from({ length: limits.advertImagesMax }, (_, n) =>
    String(n).padStart(limits.imageKeyCharsMax, 'x'),
  )
  // All that one can tell goes through …
  const heard: number[] = []
  onAdvert(mesh.node, (_, advert) => heard.push(advert.sequence))
  await eventually(() => agent.libp2p.services.gossip.getSubscribers(ADVERT_TOPIC).length > 0)
  assert.equal(await publishAdvert(agent, { ...advertOf(1), images, ready }), true)
  await eventually(() => heard.length === 1)
  // … and more is refused here, with room up to what gossip would not read.
  const tooMany = [...images, ...images]
  await assert.rejects(publishAdvert(agent, { ...advertOf(2), images: tooMany }), {
    code: 'INTERNAL',
  })
  assert.ok(limits.advertBytesMax < limits.gossipFrameBytesMax / 2)
})

test('an advert that nobody is there to hear is known not to be heard', async (t) => {
  const mesh = await startMesh(t)
  const agent = await mesh.member()
  assert.equal(await publishAdvert(agent, advertOf(1)), false)
})

test('a peer that gossip has given up in silence is cut off, comes anew, and is heard', async (t) => {
  const mesh = await startMesh(t)
  const offences: HyperError[] = []
  const watch = watchMembers(mesh.node, {
    onOffence: (_, offence) => offences.push(offence),
    now: performance.now.bind(performance),
    advertSilenceMs: SILENCE_MS,
  })
  const heard: number[] = []
  onAdvert(mesh.node, (peerId, advert) => {
    watch.heard(peerId)
    heard.push(advert.sequence)
  })
  const { agent, mine } = await openPair(mesh)
  const { gossip } = agent.libp2p.services
  const subscribed = () => eventually(() => gossip.getSubscribers(ADVERT_TOPIC).length > 0)
  await subscribed()
  await publishAdvert(agent, advertOf(1))
  await eventually(() => heard.length === 1)
  await gossip.publish(ADVERT_TOPIC, new Uint8Array(limits.gossipFrameBytesMax + 1))
  // The trap: its side believes that it is heard.
  assert.equal(await publishAdvert(agent, advertOf(2)), true)
  assert.ok((await mine.closed) instanceof Error)
  assert.deepEqual(heard, [1])
  await openAgentChannel(agent)
  await eventually(async () => {
    if (gossip.getSubscribers(ADVERT_TOPIC).length > 0) await publishAdvert(agent, advertOf(3))
    return heard.includes(3)
  })
  assert.deepEqual(offences, [])
})

test('a connection on which no channel is opened is ended', { timeout: 60_000 }, async (t) => {
  const mesh = await startMesh(t)
  let nowMs = 0
  watchMembers(mesh.node, { onOffence: () => undefined, now: () => nowMs })
  const { agent } = await openPair(mesh)
  const idle = await mesh.member()
  const connection = await idle.whereabouts.reach(AbortSignal.timeout(10_000))
  await eventually(() => mesh.node.libp2p.getConnections().length === 2)
  nowMs += limits.helloMs + 1
  await eventually(() => connection.status !== 'open')
  assert.equal(agent.libp2p.getConnections().length, 1)
})
