/**
 * A whole coordinator under attack: an honest agent serves calls all the while, and what they get, how
 * long they and the coordinator's health take, and how its memory grows is looked at.
 */

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import * as cbor from '@ipld/dag-cbor'
import type { Connection, PrivateKey, Stream } from '@libp2p/interface'
import type { FuncAddress } from '../../client/client.ts'
import { type AgentNode, startAgentNode } from '../../protocol/mesh/node.ts'
import { AGENT_PROTOCOL } from '../../protocol/messages.ts'
import {
  type CoordinatorProcess,
  type LogRow,
  startCoordinatorProcess,
} from './coordinator-process.ts'
import { eventually } from './eventually.ts'
import { IMAGE } from './fake-ports.ts'
import { quiet } from './mesh.ts'
import { playAgent } from './played-agent.ts'

/**
 * No call and no look at its health takes so much longer than in peace: unguarded, one frame held
 * everybody up for ten seconds.
 */
const STALL_MS = 2000
const STALL_RATIO = 10
const OPEN_MS = 5000
const MEMORY_BYTES_MAX = 256 * 1024 * 1024

export interface Siege {
  readonly coordinator: CoordinatorProcess
  readonly func: FuncAddress
  /** Does it while calls are served, and asserts that they are, byte for byte and without a stall. */
  during(attack: () => Promise<void>): Promise<void>
  /** A member's node. */
  node(key?: PrivateKey): Promise<AgentNode>
  /** What the log says of a member that was cut off. */
  cutOff(peerId: string, code: string): Promise<LogRow>
}

export const layer = async (t: TestContext): Promise<Siege> => {
  const coordinator = await startCoordinatorProcess()
  t.after(coordinator.stop)
  await playAgent(t, coordinator, await coordinator.enrol())
  const { client } = coordinator
  const func = await client.funcs.create({ Name: 'f', Config: { Image: IMAGE.reference } })

  const call = async (n: number): Promise<number> => {
    const payload = Buffer.from(`call ${n}`)
    const atMs = performance.now()
    const answer = await client.calls.run(func, { payload })
    assert.equal(answer.state, 'finished')
    const chunks: Buffer[] = []
    for await (const chunk of answer.body) chunks.push(chunk)
    assert.deepEqual(Buffer.concat(chunks), payload)
    return performance.now() - atMs
  }
  const health = async (): Promise<number> => {
    const atMs = performance.now()
    const response = await fetch(`${coordinator.url}/healthz`)
    assert.equal(await response.text(), 'ok')
    return performance.now() - atMs
  }
  let calls = 0
  let peaceMs = 0
  for (; calls < 10; calls += 1) peaceMs = Math.max(peaceMs, await call(calls), await health())

  return {
    coordinator,
    func,
    async during(attack) {
      const before = await coordinator.memory()
      let isOver = false
      let slowestMs = 0
      const serve = async (): Promise<void> => {
        const least = calls + 5
        while (!isOver || calls < least) {
          calls += 1
          slowestMs = Math.max(slowestMs, await call(calls), await health())
        }
      }
      const serving = serve()
      serving.catch(() => undefined)
      try {
        await attack()
      } finally {
        isOver = true
      }
      await serving
      assert.ok(coordinator.isAlive())
      const bound = STALL_MS + STALL_RATIO * peaceMs
      assert.ok(slowestMs < bound, `a call or a look at its health took ${slowestMs} ms`)
      const grown = (await coordinator.memory()) - before
      assert.ok(grown < MEMORY_BYTES_MAX, `its memory grew by ${grown} bytes`)
      if (process.env.SIEGE)
        console.log(Math.round(slowestMs), 'ms', Math.round(grown / 1048576), 'MiB', calls)
    },
    async node(key) {
      const node = await startAgentNode({
        key: key ?? (await coordinator.enrol()),
        ...{ coordinator: coordinator.peerId, addresses: coordinator.mesh, log: quiet },
      })
      t.after(() => node.stop())
      return node
    },
    cutOff: (peerId, code) =>
      eventually(
        () =>
          coordinator.logged.find(
            (row) => row.msg === 'member cut off' && row.peer === peerId && row.code === code,
          ),
        10_000,
        () =>
          `${peerId} was not cut off for ${code}:\n${coordinator.logged
            .filter(({ peer }) => peer === peerId)
            .slice(-5)
            .map((row) => JSON.stringify(row))
            .join('\n')}`,
      ),
  }
}

export interface RawChannel {
  readonly connection: Connection
  readonly stream: Stream
  /** As a frame of its own. */
  frame(bytes: Uint8Array): boolean
  message(message: unknown): boolean
  isClosed(): boolean
}

/** A channel whose other end sends what it likes. */
export const openRaw = async (node: AgentNode): Promise<RawChannel> => {
  const signal = AbortSignal.timeout(OPEN_MS)
  const connection = await node.whereabouts.reach(signal)
  const stream = await connection.newStream(AGENT_PROTOCOL, { signal })
  stream.addEventListener('message', () => undefined)
  const frame = (bytes: Uint8Array): boolean =>
    stream.status === 'open' && stream.send(Buffer.concat([varint(bytes.byteLength), bytes]))
  return {
    connection,
    stream,
    frame,
    message: (message) => frame(cbor.encode(message)),
    isClosed: () => connection.status !== 'open',
  }
}

export const varint = (value: number): Uint8Array => {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Uint8Array.from([...bytes, rest])
}
