/** Members that send what no agent sends. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import * as cbor from '@ipld/dag-cbor'
import { limits } from '../../protocol/limits.ts'
import { openAgentChannel } from '../../protocol/mesh/agent-channel.ts'
import { sayHello } from '../support/coordinator.ts'
import { eventually } from '../support/eventually.ts'
import { makeHello } from '../support/ledger-words.ts'
import { idOf } from '../support/mesh.ts'
import { layer, openRaw, varint } from '../support/siege.ts'

const hello = (over: object): Uint8Array => cbor.encode({ ...makeHello(), ...over })

/** Arrays in arrays, as deep as a frame allows. */
const nested = (bytes: number): Uint8Array => new Uint8Array(bytes).fill(0x81)
/** An array of so many empty maps. */
const crowded = (items: number): Uint8Array => {
  const bytes = new Uint8Array(items + 5).fill(0xa0)
  bytes[0] = 0x9a
  new DataView(bytes.buffer).setUint32(1, items)
  return bytes
}

const FRAMES: readonly (readonly [what: string, bytes: () => Uint8Array])[] = [
  ['nothing', () => new Uint8Array()],
  ['random bytes', () => randomBytes(1000)],
  ['an unknown message', () => cbor.encode({ type: 'shutdown', session: 1 })],
  ['a message cut short', () => hello({}).subarray(0, 40)],
  ['a million slots', () => hello({ slots: 1_000_000 })],
  ['slots below none', () => hello({ slots: -1 })],
  ['slots beyond counting', () => hello({ slots: 1e300 })],
  ['half a slot', () => hello({ slots: 1.5 })],
  ['memory beyond counting', () => hello({ memoryBytes: 2 ** 60 })],
  ['a host name without end', () => hello({ host: 'x'.repeat(100_000) })],
  [
    'labels without end',
    () => hello({ labels: Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [n, ''])) }),
  ],
  ['deep nesting', () => nested(2_000_000)],
  ['three million items', () => crowded(3_000_000)],
  [
    'a million wrong attempts',
    () => hello({ attempts: Array.from({ length: 1_000_000 }, () => ({})) }),
  ],
]

test('members that break the protocol', async (t) => {
  const siege = await layer(t)
  const { coordinator } = siege

  for (const [what, bytes] of FRAMES) {
    await t.test(`${what}: it is cut off and named, and the calls go on`, async () => {
      const node = await siege.node()
      const made = bytes()
      await siege.during(async () => {
        const raw = await openRaw(node)
        raw.frame(made)
        await siege.cutOff(node.peerId, 'BAD_PARAMETER')
        await eventually(raw.isClosed)
      })
    })
  }

  await t.test('a length of a gigabyte is not waited for', async () => {
    const node = await siege.node()
    const raw = await openRaw(node)
    raw.stream.send(varint(2 ** 30))
    await siege.cutOff(node.peerId, 'BAD_PARAMETER')
    await eventually(raw.isClosed)
  })

  await t.test('a second hello on a channel is out of turn', async () => {
    const node = await siege.node()
    const raw = await openRaw(node)
    raw.message(makeHello())
    raw.message(makeHello())
    await siege.cutOff(node.peerId, 'BAD_PARAMETER')
  })

  await t.test(
    'a channel that is closed in order before a hello is no offence, and not logged',
    async (t2) => {
      const key = await coordinator.enrol()
      const early = await openAgentChannel(await siege.node(key))
      await early.close()
      const { answer, channel } = await sayHello(t2, coordinator, key)
      assert.equal(answer.type, 'welcome')
      await channel.close()
      assert.deepEqual(
        coordinator.logged.filter(({ peer, code }) => peer === idOf(key) && code !== undefined),
        [],
      )
    },
  )

  await t.test('an offender is kept off and told so, longer each time, then let in', async (t2) => {
    const key = await coordinator.enrol()
    const node = await siege.node(key)
    ;(await openRaw(node)).frame(new Uint8Array())
    const first = await siege.cutOff(node.peerId, 'BAD_PARAMETER')
    assert.equal(first.strikes, 1)
    const { answer, channel } = await sayHello(t2, coordinator, key)
    assert.partialDeepStrictEqual(answer, { type: 'goodbye', code: 'KEPT_OFF' })
    await channel.close()
    const welcomed = await eventually(async () => {
      const again = await sayHello(t2, coordinator, key)
      if (again.answer.type === 'welcome') return again
      // As seldom as an agent does: one that asks again and again is an offender for that.
      await pause(limits.redialMsMax)
      return undefined
    }, 15_000)
    await welcomed.channel.close()
    ;(await openRaw(node)).frame(new Uint8Array())
    const second = await eventually(() =>
      coordinator.logged.find((row) => row.peer === idOf(key) && row.strikes === 2),
    )
    assert.equal(second.keptOffMs, 2 * (first.keptOffMs ?? 0))
  })
})
