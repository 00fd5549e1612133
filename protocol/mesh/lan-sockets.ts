/**
 * Multicast DNS on every IPv4 network of this host. A host sends a multicast on one network only, and
 * which one is seldom the right one beside Docker's bridges: so there is a socket for each. What
 * comes is taken on the socket of the network that the sender is on: all of them hear all.
 */

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { BlockList } from 'node:net'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { type DecodedPacket, decode, encode, type Packet } from 'dns-packet'
import type { Logger as Log } from 'pino'
import { messageOf } from '../errors.ts'

const GROUP = '224.0.0.251'
const PORT = 5353
/** What a router would have lowered comes from elsewhere (RFC 6762, 11). */
const TTL = 255

export interface Network {
  /** This host's address there. */
  readonly address: string
  readonly prefix: number
}

/** Pure. Loopback is none: who is on this host knows its addresses. */
export const networksIn = (
  interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>,
): readonly Network[] =>
  Object.values(interfaces)
    .flatMap((infos) => infos ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address, cidr }) => ({ address, prefix: Number(cidr?.split('/')[1] ?? 32) }))

export const ownNetworks = (): readonly Network[] => networksIn(networkInterfaces())

/** Pure: whether an IPv4 address is of that network. */
export const isOn = ({ address, prefix }: Network, other: string): boolean => {
  const subnet = new BlockList()
  subnet.addSubnet(address, prefix)
  return subnet.check(other)
}

export interface LanSocket {
  readonly network: Network
  /** To all hosts of the network. What cannot be sent is lost, as on the way. */
  readonly send: (packet: Packet) => void
  readonly close: () => void
}

/** `hear` gets what hosts of that network say. Rejects where the port or the network cannot be used. */
export const openLanSocket = async (
  network: Network,
  hear: (packet: DecodedPacket, from: string) => void,
  log: Log,
): Promise<LanSocket> => {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  try {
    await bind(socket, network)
  } catch (error) {
    socket.close()
    throw error
  }
  socket.on('error', (error) => log.debug({ reason: messageOf(error), ...network }, 'mDNS failed'))
  socket.on('message', (bytes: Buffer, { address, port }: RemoteInfo) => {
    if (port !== PORT || !isOn(network, address)) return
    const packet = read(bytes)
    if (packet !== null) hear(packet, address)
  })
  return {
    network,
    send: (packet) => socket.send(encode(packet), PORT, GROUP, () => undefined),
    close: () => void socket.close(),
  }
}

/** Not to the network's address: what is sent to the group would not come. */
const bind = (socket: Socket, { address }: Network): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(PORT, () => {
      try {
        socket.addMembership(GROUP, address)
        socket.setMulticastInterface(address)
        socket.setMulticastTTL(TTL)
        socket.off('error', reject)
        resolve()
      } catch (error) {
        reject(error)
      }
    })
  })

/** Null for what is no DNS message. */
const read = (bytes: Buffer): DecodedPacket | null => {
  try {
    return decode(bytes)
  } catch {
    return null
  }
}
