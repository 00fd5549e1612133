/**
 * The long-lived channel between an agent and its coordinator, one on a connection. The connection
 * ends with its channel, so that what is half dead is never used again; the agent dials anew.
 */

import type { Connection } from '@libp2p/interface'
import { HyperError, messageOf } from '../errors.ts'
import { laneOf } from '../lane.ts'
import {
  AGENT_PROTOCOL,
  type AgentMessage,
  type CoordinatorMessage,
  decodeAgentMessage,
  decodeCoordinatorMessage,
  encodeMessage,
} from '../messages.ts'
import { type Channel, createChannel } from './channel.ts'
import { openProtocol } from './dial.ts'
import type { AgentNode, CoordinatorNode } from './node.ts'

/** The agent's end. */
export type AgentChannel = Channel<AgentMessage, CoordinatorMessage>
/** The coordinator's end. */
export type MemberChannel = Channel<CoordinatorMessage, AgentMessage>

/** Rejects with UNREACHABLE, NOT_A_MEMBER or VERSION_MISMATCH. */
export const openAgentChannel = async (
  node: AgentNode,
  signal?: AbortSignal,
): Promise<AgentChannel> => {
  const { stream, connection } = await openProtocol(node, {
    protocol: AGENT_PROTOCOL,
    refusal: {
      code: 'NOT_A_MEMBER',
      message: `coordinator ${node.coordinator} does not know ${node.peerId}`,
    },
    signal,
  })
  const channel: AgentChannel = createChannel({
    stream,
    remotePeer: node.coordinator.toString(),
    encode: encodeMessage,
    decode: decodeCoordinatorMessage,
    laneOf,
    log: node.log,
  })
  endWith(channel.closed, connection)
  return channel
}

/** `onChannel` must take or close the channel; it is called as soon as an agent opened one. */
export const handleAgentChannels = async (
  node: CoordinatorNode,
  onChannel: (channel: MemberChannel) => void,
): Promise<void> => {
  await node.libp2p.handle(
    AGENT_PROTOCOL,
    (stream, connection) => {
      const remotePeer = connection.remotePeer.toString()
      if (!node.isMember(remotePeer)) {
        return connection.abort(new HyperError('NOT_A_MEMBER', 'not a member'))
      }
      const channel: MemberChannel = createChannel({
        stream,
        remotePeer,
        encode: encodeMessage,
        decode: decodeAgentMessage,
        laneOf,
        log: node.log,
      })
      endWith(channel.closed, connection)
      onChannel(channel)
    },
    { maxInboundStreams: 1 },
  )
}

const endWith = (closed: Promise<Error | null>, connection: Connection): void => {
  closed
    .then(async (reason) => {
      if (reason === null) await connection.close()
      else connection.abort(reason)
    })
    .catch((error) =>
      connection.abort(error instanceof Error ? error : new Error(messageOf(error))),
    )
}
