/** Members that lie: about their slots, about calls they never had, about others. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { publishAdvert } from '../../protocol/mesh/adverts.ts'
import type { AgentChannel } from '../../protocol/mesh/agent-channel.ts'
import { ADVERT_TOPIC, type CoordinatorMessage, type Hello } from '../../protocol/messages.ts'
import { sayHello } from '../support/coordinator.ts'
import { eventually } from '../support/eventually.ts'
import { makeResult } from '../support/ledger-words.ts'
import { advertOf, idOf } from '../support/mesh.ts'
import { layer, type Siege } from '../support/siege.ts'

const encoder = new TextEncoder()

interface Member {
  readonly channel: AgentChannel
  readonly session: number
}

/** A member that does nothing by itself. */
const join = async (
  t: TestContext,
  siege: Siege,
  over: Partial<Hello> = {},
  onOrder: (member: Member, order: CoordinatorMessage) => void = () => undefined,
) => {
  const key = await siege.coordinator.enrol()
  const { channel, answer } = await sayHello(t, siege.coordinator, key, { slots: 0, ...over })
  assert.equal(answer.type, 'welcome')
  const orders: CoordinatorMessage[] = []
  const listening = (async () => {
    for await (const order of channel.messages) {
      orders.push(order)
      onOrder({ channel, session: answer.session }, order)
    }
  })()
  const leave = async (): Promise<void> => {
    await channel.close()
    await listening
  }
  const assigned = () =>
    eventually(() => orders.find((order) => order.type === 'assign'), 20_000).then(
      ({ assignment }) => assignment.key,
    )
  return { channel, session: answer.session, peerId: idOf(key), orders, assigned, leave }
}

test('members that lie', async (t) => {
  const siege = await layer(t)
  const { coordinator, func } = siege
  const { client } = coordinator

  const viewOf = async (peerId: string) =>
    (await client.agents.list()).find((agent) => agent.peerId === peerId)

  await t.test('slots that it says are free and has not told of are not given out', async (t2) => {
    const liar = await join(t2, siege)
    const node = await siege.node()
    await node.whereabouts.reach(AbortSignal.timeout(10_000))
    await siege.during(async () => {
      await liar.channel.send({ type: 'heartbeat', session: liar.session, attempts: [] })
      const calls = await Promise.all(Array.from({ length: 20 }, () => client.calls.run(func)))
      assert.ok(calls.every(({ state }) => state === 'finished'))
    })
    assert.equal((await viewOf(liar.peerId))?.free, 0)
    assert.ok(!liar.orders.some(({ type }) => type === 'assign'))
    await liar.leave()
  })

  await t.test('one that refuses all it is given hurts nobody else', async (t2) => {
    // It has more free than the honest one, so it is asked first.
    const liar = await join(t2, siege, { slots: 1000 }, ({ channel, session }, order) => {
      if (order.type !== 'assign') return
      const { key } = order.assignment
      channel.send({ type: 'refused', session, key, message: 'no' }).catch(() => undefined)
    })
    await siege.during(async () => {
      await liar.assigned()
    })
    await liar.leave()
  })

  await t.test('nobody reports for another, nor in another session', async (t2) => {
    const victim = await join(t2, siege, { slots: 1000 })
    const liar = await join(t2, siege)
    const running = client.calls.run(func, { payload: encoder.encode('x') })
    const key = await victim.assigned()
    const forged = makeResult(key, 'FINISHED', { stdout: encoder.encode('forged') })
    // Of the liar's own session, then of the victim's.
    for (const session of [liar.session, victim.session]) {
      await liar.channel.send({ type: 'started', session, key })
      await liar.channel.send({ type: 'gone', session, key })
      await liar.channel.send({ type: 'refused', session, key, message: 'no' })
      await liar.channel.send({ type: 'result', session, key, result: forged })
      await liar.channel.send({ type: 'draining', session: victim.session, draining: true })
    }
    // It was heard: what a stranger to the attempt reports is acknowledged, and dropped.
    await eventually(() => liar.orders.find(({ type }) => type === 'acknowledge'))
    assert.equal((await viewOf(victim.peerId))?.running, 1)
    assert.equal((await viewOf(victim.peerId))?.state, 'alive')
    const { session } = victim
    // Of a session that was, or is to come.
    for (const other of [session - 1, session + 1, Number.MAX_SAFE_INTEGER]) {
      await victim.channel.send({ type: 'result', session: other, key, result: forged })
      await victim.channel.send({ type: 'draining', session: other, draining: true })
    }
    const result = makeResult(key, 'FINISHED', { stdout: encoder.encode('true') })
    await victim.channel.send({ type: 'result', session, key, result })
    // Said again, in other words: a call has one result.
    await victim.channel.send({ type: 'result', session, key, result: forged })
    const answer = await running
    assert.equal(answer.state, 'finished')
    const chunks: Buffer[] = []
    for await (const chunk of answer.body) chunks.push(chunk)
    assert.equal(Buffer.concat(chunks).toString(), 'true')
    await victim.leave()
    await liar.leave()
  })

  await t.test('an advert that another signed is not taken, and names who sent it', async () => {
    const [victim, liar] = [await siege.node(), await siege.node()]
    for (const node of [victim, liar]) {
      await node.whereabouts.reach(AbortSignal.timeout(10_000))
      await eventually(() => node.libp2p.services.gossip.getSubscribers(ADVERT_TOPIC).length > 0)
    }
    // The victim's own frame as it leaves it.
    const outbound = Reflect.get(victim.libp2p.services.gossip, 'streamsOutbound')
    const stream = outbound.get(coordinator.peerId)
    const frames: Uint8Array[] = []
    const push = stream.push.bind(stream)
    stream.push = (data: Uint8Array) => {
      frames.push(data)
      return push(data)
    }
    await publishAdvert(victim, advertOf(1))
    const [frame] = frames
    assert.ok(frame !== undefined)
    // Seen by the coordinator already: it is the second one, never seen, that counts.
    stream.push = (data: Uint8Array) => void frames.push(data)
    await publishAdvert(victim, advertOf(2))
    const unseen = frames.at(-1)
    Reflect.get(liar.libp2p.services.gossip, 'streamsOutbound').get(coordinator.peerId).push(unseen)
    const { reason } = await siege.cutOff(liar.peerId, 'BAD_PARAMETER')
    assert.match(reason ?? '', /not its own/)
  })
})
