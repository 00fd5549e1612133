/**
 * Who may connect (see Membership is by key in ARCHITECTURE.md): the gate runs after the other side
 * has proven its key and before any protocol is spoken. The coordinator lets in those on its list
 * and dials nobody; an agent dials its coordinator, pinned by key, and lets in nobody.
 */

import type { ConnectionGater } from '@libp2p/interface'

interface CoordinatorGateDeps {
  readonly isAllowed: (peerId: string) => boolean
  readonly onRefused: (peerId: string, address: string) => void
}

export const createCoordinatorGate = ({
  isAllowed,
  onRefused,
}: CoordinatorGateDeps): ConnectionGater => ({
  denyDialPeer: () => true,
  denyDialMultiaddr: () => true,
  denyInboundEncryptedConnection: (peer, connection) => {
    const peerId = peer.toString()
    if (isAllowed(peerId)) return false
    onRefused(peerId, connection.remoteAddr.toString())
    return true
  },
})

export interface AgentGate {
  readonly gater: ConnectionGater
  /**
   * How often the coordinator has proven its key. A dial that fails after that was refused by the
   * coordinator's gate (or the coordinator died); one that fails before never reached it.
   */
  readonly timesProven: () => number
}

export const createAgentGate = (coordinator: string): AgentGate => {
  let proven = 0
  return {
    timesProven: () => proven,
    gater: {
      denyDialPeer: (peer) => peer.toString() !== coordinator,
      denyDialMultiaddr: (address) => !address.toString().endsWith(`/p2p/${coordinator}`),
      denyInboundConnection: () => true,
      denyOutboundEncryptedConnection: (peer) => {
        if (peer.toString() !== coordinator) return true
        proven += 1
        return false
      },
    },
  }
}
