/** Large messages of both sides, and what a test does with a channel. */

import assert from 'node:assert/strict'
import type { Stream } from '@libp2p/interface'
import type { Channel } from '../../protocol/mesh/channel.ts'
import type { AgentNode } from '../../protocol/mesh/node.ts'
import {
  AGENT_PROTOCOL,
  type AgentMessage,
  type CoordinatorMessage,
} from '../../protocol/messages.ts'

export const megabyte = 1_048_576
const key = { call: '01234567-89ab-4def-8123-456789abcdef', attempt: 1, epoch: 1 }

export const result = (stdout: Uint8Array): AgentMessage => ({
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

export const assign = (payload: Uint8Array): CoordinatorMessage => ({
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

export const take = async <In>(channel: Channel<never, In>, count: number): Promise<In[]> => {
  const taken: In[] = []
  for await (const message of channel.messages) {
    taken.push(message)
    if (taken.length === count) break
  }
  return taken
}

/** The stream under an agent's channel. */
export const agentStream = (agent: AgentNode): Stream => {
  const streams = agent.libp2p.getConnections().flatMap((connection) => connection.streams)
  const stream = streams.find(({ protocol }) => protocol === AGENT_PROTOCOL)
  assert.ok(stream !== undefined)
  return stream
}
