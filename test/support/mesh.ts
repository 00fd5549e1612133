/** A coordinator's mesh on loopback with a list that tests change; stops all it started. */

import type { TestContext } from 'node:test'
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { pino } from 'pino'
import type { Advert } from '../../protocol/advert.ts'
import {
  type AgentChannel,
  handleAgentChannels,
  type MemberChannel,
  openAgentChannel,
} from '../../protocol/mesh/agent-channel.ts'
import {
  type AgentNode,
  type CoordinatorNode,
  startAgentNode,
  startCoordinatorNode,
} from '../../protocol/mesh/node.ts'
import type { AgentMessage, CoordinatorMessage } from '../../protocol/messages.ts'
import { eventually } from './eventually.ts'

export const quiet = pino({ level: process.env.HYPER_LOG_LEVEL ?? 'silent' })

export const newKey = (): Promise<PrivateKey> => generateKeyPair('Ed25519')
export const idOf = (key: PrivateKey): string => peerIdFromPrivateKey(key).toString()

export interface TestMesh {
  readonly node: CoordinatorNode
  readonly members: Set<string>
  readonly invitations: Set<string>
  /** Channels that agents opened, in order. */
  readonly channels: MemberChannel[]
  readonly agent: (key: PrivateKey, addresses?: readonly string[]) => Promise<AgentNode>
  readonly member: (addresses?: readonly string[]) => Promise<AgentNode>
}

export const startMesh = async (t: TestContext): Promise<TestMesh> => {
  const members = new Set<string>()
  const invitations = new Set<string>()
  const channels: MemberChannel[] = []
  const node = await startCoordinatorNode({
    key: await newKey(),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    isMember: (peerId) => members.has(peerId),
    isInvitation: (peerId) => invitations.has(peerId),
    log: quiet,
  })
  t.after(() => node.stop())
  await handleAgentChannels(node, (channel) => channels.push(channel))
  const agent: TestMesh['agent'] = async (key, addresses = node.addresses()) => {
    const started = await startAgentNode({
      ...{ key, addresses },
      coordinator: node.peerId,
      log: quiet,
    })
    t.after(() => started.stop())
    return started
  }
  const member: TestMesh['member'] = async (addresses) => {
    const key = await newKey()
    members.add(idOf(key))
    return agent(key, addresses)
  }
  return { node, members, invitations, channels, agent, member }
}

/** Both ends of a fresh member's channel. */
export const openPair = async (
  mesh: TestMesh,
  addresses?: readonly string[],
): Promise<{ agent: AgentNode; mine: AgentChannel; theirs: MemberChannel }> => {
  const agent = await mesh.member(addresses)
  const mine = await openAgentChannel(agent)
  const theirs = await eventually(() =>
    mesh.channels.find((each) => each.remotePeer === agent.peerId),
  )
  return { agent, mine, theirs }
}

/** A small message of each side, recognised by its number. */
export const heartbeat = (number: number): AgentMessage => ({
  type: 'heartbeat',
  session: number,
  attempts: [],
})
export const renewed = (number: number): CoordinatorMessage => ({
  type: 'renewed',
  session: number,
  epoch: 1,
})

export const advertOf = (sequence: number): Advert => ({
  sequence,
  slotsFree: 4,
  memoryFreeBytes: 1,
  diskFreeBytes: 1,
  diskFull: false,
  engineUp: true,
  draining: false,
  images: [],
  ready: [],
})
