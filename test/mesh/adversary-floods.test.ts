/** Members that say what an agent says, and far too much of it. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Connection, Stream } from '@libp2p/interface'
import { limits } from '../../protocol/limits.ts'
import { publishAdvert } from '../../protocol/mesh/adverts.ts'
import type { AgentNode } from '../../protocol/mesh/node.ts'
import { ADVERT_TOPIC, AGENT_PROTOCOL, ENROL_PROTOCOL } from '../../protocol/messages.ts'
import { sayHello } from '../support/coordinator.ts'
import { eventually } from '../support/eventually.ts'
import { makeHello, makeResult } from '../support/ledger-words.ts'
import { advertOf, idOf } from '../support/mesh.ts'
import { layer, openRaw, type Siege, varint } from '../support/siege.ts'

const key = { call: '01234567-89ab-4def-8123-456789abcdef', attempt: 1, epoch: 1 }

/** Connections of one member: three times what it may make at once. */
const STORM = 120
const REPORTS = 25_000

const sessionOf = async (t: TestContext, siege: Siege) => {
  const memberKey = await siege.coordinator.enrol()
  const { channel, answer } = await sayHello(t, siege.coordinator, memberKey, { slots: 0 })
  assert.equal(answer.type, 'welcome')
  return { channel, peerId: idOf(memberKey), session: answer.session, memberKey }
}

const field = (number: number, bytes: Uint8Array): Buffer =>
  Buffer.concat([varint(number * 8 + 2), varint(bytes.byteLength), bytes])

/** In gossipsub's own form: of an RPC field 3 is its control messages. */
const control = (number: number, message: Uint8Array): Buffer => field(3, field(number, message))
const topic = field(1, Buffer.from(ADVERT_TOPIC))
const ids = Buffer.concat(Array.from({ length: 1000 }, () => field(2, Buffer.alloc(20, 1))))

/** As an advert, by a key that did not sign it: to look at the signature costs most. */
const forged = field(
  2,
  Buffer.concat([
    field(1, Buffer.from([0, 36, 8, 1, 18, 32, ...Buffer.alloc(32, 7)])),
    field(3, Buffer.alloc(8)),
    field(4, Buffer.from(ADVERT_TOPIC)),
    field(5, Buffer.alloc(64)),
  ]),
)

const GOSSIP: readonly (readonly [what: string, rpc: Uint8Array])[] = [
  ['nothing, again and again', new Uint8Array()],
  ['messages that it has', control(1, Buffer.concat([topic, ids]))],
  ['messages that it wants', control(2, field(1, Buffer.alloc(20, 1)))],
  ['what does not parse', control(2, Buffer.alloc(20, 1))],
  ['hundreds of adverts in one frame', Buffer.concat(Array.from({ length: 400 }, () => forged))],
  ['grafts', control(3, topic)],
  ['prunes', control(4, topic)],
  [
    'subscriptions',
    field(1, Buffer.concat([Buffer.from([8, 1]), field(2, Buffer.from(ADVERT_TOPIC))])),
  ],
  [
    'subscriptions of other topics',
    field(1, Buffer.concat([Buffer.from([8, 1]), field(2, Buffer.from('other'))])),
  ],
]
const GOSSIP_PIECE = 64 * 1024
const GOSSIP_BYTES = 16 * 1024 * 1024

/** As many frames of it as there is room for. */
const fill = (rpc: Uint8Array, bytes: number): Buffer => {
  const frame = Buffer.concat([varint(rpc.byteLength), rpc])
  const count = Math.max(1, Math.floor(bytes / frame.byteLength))
  return Buffer.concat(Array.from({ length: count }, () => frame))
}

const subscribed = (node: AgentNode): Promise<boolean> =>
  eventually(() => node.libp2p.services.gossip.getSubscribers(ADVERT_TOPIC).length > 0)

test('members that flood', async (t) => {
  const siege = await layer(t)
  const { coordinator } = siege

  await t.test('heartbeats', async (t2) => {
    const { channel, peerId, session } = await sessionOf(t2, siege)
    await siege.during(async () => {
      const beats = Array.from({ length: 5000 }, () =>
        channel.send({ type: 'heartbeat', session, attempts: [key] }).catch(() => undefined),
      )
      await Promise.all(beats)
      await siege.cutOff(peerId, 'FLOODED')
      assert.ok((await channel.closed) instanceof Error)
    })
  })

  await t.test('adverts', async () => {
    const node = await siege.node()
    await siege.during(async () => {
      const raw = await openRaw(node)
      raw.message(makeHello({ slots: 0 }))
      await subscribed(node)
      for (let sequence = 1; sequence < 500 && !raw.isClosed(); sequence += 1) {
        await publishAdvert(node, advertOf(sequence))
      }
      await siege.cutOff(node.peerId, 'FLOODED')
      await eventually(raw.isClosed)
    })
  })

  await t.test('connections and hellos, again and again', async () => {
    const node = await siege.node()
    const atMs = performance.now()
    const made = new Set<Connection>()
    await siege.during(async () => {
      const storm = async (): Promise<void> => {
        for (let n = 0; n < STORM / 10; n += 1) {
          const raw = await openRaw(node).catch(() => null)
          if (raw !== null) made.add(raw.connection)
          raw?.message(makeHello({ slots: 0, greeting: n }))
        }
      }
      await Promise.all(Array.from({ length: 10 }, storm))
    })
    const rows = coordinator.logged.filter((row) => row.peer === node.peerId)
    const hellos = rows.filter((row) => row.msg === 'agent connected').length
    // However long it took: it is told again and again to come later.
    const seconds = (performance.now() - atMs) / 1000
    const most = limits.memberConnectsBurstMax + limits.memberConnectsPerSecondMax * seconds
    assert.ok(hellos <= most, `${hellos} hellos in ${seconds} s`)
    const isNamed = rows.some((row) => row.msg === 'member cut off' && row.code === 'FLOODED')
    assert.ok(isNamed || made.size <= most, 'it is named')
  })

  await t.test('connections that are kept open: the oldest go', async () => {
    const node = await siege.node()
    const open: Connection[] = []
    for (let n = 0; n < limits.memberConnectionsMax + 5; n += 1) {
      open.push(await node.whereabouts.reach(AbortSignal.timeout(10_000)))
    }
    await eventually(
      () => open.filter(({ status }) => status === 'open').length <= limits.memberConnectionsMax,
    )
    assert.equal(open.at(-1)?.status, 'open')
  })

  for (const [what, protocols] of [
    ['of the channel', [AGENT_PROTOCOL]],
    ['of enrolment', [ENROL_PROTOCOL]],
    ['of gossip', ['/meshsub/1.1.0']],
    ['of no protocol that is known', ['/hyper-func/shutdown/1']],
  ] as const) {
    await t.test(`a thousand streams ${what}`, async () => {
      const node = await siege.node()
      await siege.during(async () => {
        const raw = await openRaw(node)
        raw.message(makeHello({ slots: 0 }))
        const streams: Promise<Stream | null>[] = []
        for (let n = 0; n < 1000 && !raw.isClosed(); n += 1) {
          streams.push(
            raw.connection
              .newStream([...protocols], {
                maxOutboundStreams: 2000,
                signal: AbortSignal.timeout(3000),
              })
              .catch(() => null),
          )
        }
        await siege.cutOff(node.peerId, 'FLOODED')
        await eventually(raw.isClosed)
        await Promise.all(streams)
      })
    })
  }

  for (const [what, rpc] of GOSSIP) {
    await t.test(`gossip: ${what}`, async () => {
      const node = await siege.node()
      await siege.during(async () => {
        const raw = await openRaw(node)
        raw.message(makeHello({ slots: 0 }))
        const stream = await raw.connection.newStream('/meshsub/1.1.0')
        const piece = fill(rpc, GOSSIP_PIECE)
        for (let sent = 0; sent < GOSSIP_BYTES && stream.status === 'open'; sent += GOSSIP_PIECE) {
          if (!stream.send(piece)) await stream.onDrain().catch(() => undefined)
        }
        await siege.cutOff(node.peerId, 'FLOODED')
        await eventually(raw.isClosed)
      })
    })
  }

  await t.test('streams that are opened and left alone', async () => {
    const node = await siege.node()
    await siege.during(async () => {
      const raw = await openRaw(node)
      raw.message(makeHello({ slots: 0 }))
      // Opened, but nothing is negotiated on them.
      const muxer = Reflect.get(raw.connection, 'muxer')
      for (let n = 0; n < 1000; n += 1) await muxer.createStream().catch(() => undefined)
      await siege.cutOff(node.peerId, 'FLOODED')
      await eventually(raw.isClosed)
    })
  })

  await t.test('reports of attempts and pulls that nobody gave it', async (t2) => {
    const { channel, peerId, session } = await sessionOf(t2, siege)
    const taking = (async () => {
      for await (const _ of channel.messages);
    })()
    const atMs = performance.now()
    await siege.during(async () => {
      const result = makeResult(key)
      for (let n = 0; n < REPORTS; n += 1000) {
        await Promise.all(
          Array.from({ length: 1000 }, (_, m) =>
            channel.send(
              m % 2 === 0
                ? { type: 'result', session, key, result }
                : { type: 'pull-progress', session, pull: m, line: '{"status":"lie"}' },
            ),
          ),
        )
      }
      // However slowly this machine sends them: faster than that they are not read.
      await eventually(() => {
        const seconds = (performance.now() - atMs) / 1000
        const most = limits.memberMessagesBurstMax + limits.memberMessagesPerSecondMax * seconds
        return (
          most > REPORTS ||
          coordinator.logged.some(
            (row) => row.peer === peerId && row.msg === 'member is read more slowly',
          )
        )
      })
    })
    await channel.close()
    await taking
  })
})
