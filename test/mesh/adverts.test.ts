import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onAdvert, publishAdvert } from '../../protocol/mesh/adverts.ts'
import type { AgentNode } from '../../protocol/mesh/node.ts'
import { ADVERT_TOPIC } from '../../protocol/messages.ts'
import { eventually } from '../support/eventually.ts'
import { advertOf, newKey, openPair, renewed, startMesh } from '../support/mesh.ts'

/** Until the coordinator's subscription has arrived there is nobody to publish to. */
const connected = (agent: AgentNode): Promise<boolean> =>
  eventually(() => agent.libp2p.services.gossip.getSubscribers(ADVERT_TOPIC).length > 0)

test('a member’s adverts arrive, damaged and oversized ones do not', async (t) => {
  const mesh = await startMesh(t)
  const heard: [string, number][] = []
  onAdvert(mesh.node, (peerId, advert) => heard.push([peerId, advert.sequence]))
  const { agent } = await openPair(mesh)
  await connected(agent)
  const { gossip } = agent.libp2p.services
  assert.equal(await publishAdvert(agent, advertOf(1)), true)
  await gossip.publish(ADVERT_TOPIC, Uint8Array.of(0xff, 1, 2))
  await gossip.publish(ADVERT_TOPIC, new Uint8Array(100_000))
  await publishAdvert(agent, advertOf(2))
  await eventually(() => heard.length >= 2)
  assert.deepEqual(heard, [
    [agent.peerId, 1],
    [agent.peerId, 2],
  ])
})

test('the longest advert fits', async (t) => {
  const mesh = await startMesh(t)
  const heard: number[] = []
  onAdvert(mesh.node, (_, advert) => heard.push(advert.images.length))
  const { agent } = await openPair(mesh)
  await connected(agent)
  const images = Array.from({ length: 500 }, (_, n) => String(n).padStart(128, 'x'))
  assert.equal(await publishAdvert(agent, { ...advertOf(1), images }), true)
  await eventually(() => heard.length > 0)
  assert.deepEqual(heard, [500])
})

test('an advert is told to nobody else, and a stranger’s is not heard', async (t) => {
  const mesh = await startMesh(t)
  const heard: string[] = []
  onAdvert(mesh.node, (peerId) => heard.push(peerId))
  const { agent } = await openPair(mesh)
  const { agent: eavesdropper, mine, theirs } = await openPair(mesh)
  const overheard: string[] = []
  eavesdropper.libp2p.services.gossip.addEventListener('message', ({ detail }) =>
    overheard.push(detail.topic),
  )
  // From here on gossipsub would relay to it.
  let isGrafted = false
  mesh.node.libp2p.services.gossip.addEventListener('gossipsub:graft', () => {
    isGrafted = true
  })
  eavesdropper.libp2p.services.gossip.subscribe(ADVERT_TOPIC)
  const stranger = await mesh.agent(await newKey())
  await stranger.whereabouts.reach(AbortSignal.timeout(10_000)).catch(() => undefined)
  await connected(agent)
  await eventually(() => isGrafted)
  for (let n = 1; n <= 5; n += 1) {
    await publishAdvert(agent, advertOf(n))
    assert.equal(await publishAdvert(stranger, advertOf(n)), false)
  }
  await eventually(() => heard.length >= 5)
  // What had been passed on would have been on its way before this.
  await theirs.send(renewed(1))
  await mine.messages.next()
  assert.deepEqual(new Set(heard), new Set([agent.peerId]))
  assert.deepEqual(overheard, [])
})

test('thirty agents on one address are all heard, again and again', async (t) => {
  const mesh = await startMesh(t)
  const heard = new Map<string, number>()
  onAdvert(mesh.node, (peerId) => heard.set(peerId, (heard.get(peerId) ?? 0) + 1))
  const agents = await Promise.all(Array.from({ length: 30 }, async () => mesh.member()))
  // One after the other: thirty handshakes at once are a test of the machine.
  for (const agent of agents) await agent.whereabouts.reach(AbortSignal.timeout(10_000))
  await Promise.all(agents.map(connected))
  for (const round of [1, 2, 3]) {
    await Promise.all(agents.map((agent) => publishAdvert(agent, advertOf(round))))
  }
  await eventually(() => heard.size === 30 && [...heard.values()].every((times) => times === 3))
})
