/**
 * Who may connect (see Membership is by key in ARCHITECTURE.md): the gate runs when a connection comes
 * (handshakes.ts), and after the other side has proven its key, before any protocol is spoken. The
 * coordinator lets in those on its list and dials nobody; an agent dials its coordinator, pinned by key, and lets in nobody.
 */

import type { ConnectionGater } from '@libp2p/interface'
import type { Handshakes } from './handshakes.ts'

interface CoordinatorGateDeps {
  readonly isAllowed: (peerId: string) => boolean
  readonly handshakes: Handshakes
  readonly onRefused: (peerId: string, address: string) => void
}

export const createCoordinatorGate = ({
  isAllowed,
  handshakes,
  onRefused,
}: CoordinatorGateDeps): ConnectionGater => ({
  denyDialPeer: () => true,
  denyDialMultiaddr: () => true,
  denyInboundConnection: async (connection) => {
    await handshakes.begin(connection)
    return false
  },
  denyInboundEncryptedConnection: (peer, connection) => {
    const peerId = peer.toString()
    if (isAllowed(peerId)) {
      handshakes.admit(connection)
      return false
    }
    handshakes.refuse(connection)
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
