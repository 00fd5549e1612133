/**
 * Finding the coordinator on one LAN, for an agent that knows no address of it, or none that answers:
 *
 *   agent ── SRV? PEER._hyper-func._udp.local ──► all hosts of the network
 *   agent ◄── SRV PORT ── the coordinator, to all hosts of the network
 *
 * - The question names the coordinator: nobody else answers, and who does not know its peer id cannot
 *   find it. Who listens on the network while an agent asks learns peer id, address and port.
 * - An answer speaks for the address that it comes from, on the network it comes from. Whether it is
 *   true shows when the coordinator proves its key; a wrong one costs a dial.
 * - An agent asks only in need; a coordinator never asks, and answers only on networks on which its
 *   mesh listens: not at all where that is loopback.
 *
 * IPv4 only, as nearly every LAN has it. Discovery as libp2p does it would tell every host all
 * addresses of the node, and asks on one network only.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { peerIdFromString } from '@libp2p/peer-id'
import { AUTHORITATIVE_ANSWER, type DecodedPacket, type Packet } from 'dns-packet'
import { base36 } from 'multiformats/bases/base36'
import type { Logger as Log } from 'pino'
import { messageOf } from '../errors.ts'
import { limits } from '../limits.ts'
import { type LanSocket, type Network, openLanSocket, ownNetworks } from './lan-sockets.ts'

const TTL_SECONDS = 10
const PORT_MAX = 65_535

/** Base36 has one case, as DNS has, and keeps an Ed25519 peer id within a label's 63 characters. */
export const lanNameOf = (peerId: string): string =>
  `${peerIdFromString(peerId).toCID().toString(base36)}._hyper-func._udp.local`

const isNamed = (said: string, name: string): boolean => said.toLowerCase() === name

/** Pure: whether somebody looks for that name. */
export const asksFor = ({ type, questions = [] }: Packet, name: string): boolean =>
  type === 'query' && questions.some((asked) => asked.type === 'SRV' && isNamed(asked.name, name))

/** Pure: the port that is told for that name, or null. */
export const portToldFor = ({ type, answers = [] }: Packet, name: string): number | null => {
  if (type !== 'response') return null
  for (const answer of answers) {
    if (answer.type !== 'SRV' || !isNamed(answer.name, name)) continue
    const { port } = answer.data
    if (Number.isInteger(port) && port > 0 && port <= PORT_MAX) return port
  }
  return null
}

export const answerOf = (name: string, port: number): Packet => ({
  type: 'response',
  flags: AUTHORITATIVE_ANSWER,
  answers: [
    { type: 'SRV', name, ttl: TTL_SECONDS, data: { port, target: name, priority: 0, weight: 0 } },
  ],
})

type Hear = (socket: LanSocket, packet: DecodedPacket, from: string) => void

/** Sockets on those of the networks that can be used. */
const openSockets = async (
  networks: readonly Network[],
  hear: Hear,
  onRefused: (network: Network, reason: string) => void,
  log: Log,
): Promise<readonly LanSocket[]> => {
  const opening = networks.map(async (network) => {
    try {
      const socket: LanSocket = await openLanSocket(
        network,
        (packet, from) => hear(socket, packet, from),
        log,
      )
      return [socket]
    } catch (error) {
      onRefused(network, messageOf(error))
      return []
    }
  })
  return (await Promise.all(opening)).flat()
}

interface Search {
  readonly coordinator: string
  /** Multiaddrs without the peer id. */
  readonly tell: (address: string) => void
  readonly signal: AbortSignal
  readonly log: Log
}

/** Asks for `lanSearchMs`, unless aborted before. */
export const searchLan = async ({ coordinator, tell, signal, log }: Search): Promise<void> => {
  const name = lanNameOf(coordinator)
  const told = new Set<string>()
  const hear: Hear = (_socket, packet, from) => {
    const port = portToldFor(packet, name)
    const address = `/ip4/${from}/tcp/${port}`
    if (port === null || told.has(address) || told.size >= limits.lanAnswersMax) return
    told.add(address)
    log.debug({ address }, 'told of the coordinator on the LAN')
    tell(address)
  }
  const onRefused = (network: Network, reason: string): void =>
    log.debug({ reason, ...network }, 'a network cannot be asked')
  const sockets = await openSockets(ownNetworks(), hear, onRefused, log)
  const ask = (): void => {
    for (const socket of sockets) socket.send({ type: 'query', questions: [{ type: 'SRV', name }] })
  }
  const asking = setInterval(ask, limits.lanAskMs)
  ask()
  await pause(limits.lanSearchMs, undefined, { signal }).catch(() => undefined)
  clearInterval(asking)
  for (const socket of sockets) socket.close()
}

interface Answering {
  readonly peerId: string
  /** The port at which the mesh listens on an address of this host, or null. Asked again and again. */
  readonly portOn: (address: string) => number | null
  readonly log: Log
}

/** Answers those who look for this coordinator. */
export const answerOnLan = ({ peerId, portOn, log }: Answering): { stop: () => Promise<void> } => {
  const name = lanNameOf(peerId)
  const stopping = new AbortController()
  const sockets = new Map<string, LanSocket>()
  /** Addresses of networks that cannot be used, as the log has been told. */
  const refused = new Set<string>()
  const lastAnswers = new WeakMap<LanSocket, number>()

  const hear: Hear = (socket, packet) => {
    const port = asksFor(packet, name) ? portOn(socket.network.address) : null
    if (port === null) return
    const now = performance.now()
    if (now - (lastAnswers.get(socket) ?? -Infinity) < limits.lanAnswerPauseMs) return
    lastAnswers.set(socket, now)
    socket.send(answerOf(name, port))
  }

  const onRefused = (network: Network, reason: string): void => {
    if (refused.has(network.address)) return
    refused.add(network.address)
    log.info({ reason, ...network }, 'agents cannot find this coordinator by mDNS there')
  }

  /** A socket on each network that is there now. */
  const follow = async (): Promise<void> => {
    const present = ownNetworks().filter(({ address }) => portOn(address) !== null)
    for (const [address, socket] of sockets) {
      if (present.some((network) => network.address === address)) continue
      socket.close()
      sockets.delete(address)
    }
    const fresh = present.filter(({ address }) => !sockets.has(address))
    for (const socket of await openSockets(fresh, hear, onRefused, log)) {
      refused.delete(socket.network.address)
      sockets.set(socket.network.address, socket)
    }
  }

  const keep = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await follow()
      await pause(limits.lanLookMs, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
    for (const socket of sockets.values()) socket.close()
  }

  const kept = keep()
  return {
    async stop() {
      stopping.abort()
      await kept
    },
  }
}
