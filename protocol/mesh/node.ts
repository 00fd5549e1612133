/**
 * The two kinds of libp2p nodes. The coordinator listens, lets in whom its list names and
 * subscribes to adverts; an agent dials its coordinator only, listens nowhere and publishes.
 * The list itself (members, invitations) is the coordinator's and is handed in.
 *
 * The dialler goes round libp2p's dial queue, which tries the addresses of a peer one by one: it
 * chooses among them itself (whereabouts.ts).
 *
 * Settings that differ from libp2p's own, and why:
 * - no connection monitor: one late ping would end a connection with all that runs over it; the
 *   channel has a heartbeat of its own;
 * - no bound of connections from one address but the whole: agents stand behind one NAT, and all
 *   return at once after a restart;
 * - gossip scores nobody by address, for the same reason (it drops silently from 15 peers on);
 * - far fewer streams on a connection: each is a buffer, and nobody needs a dozen;
 * - a stream's window stays under its buffer, so that a paused reader is never reset.
 */

import { type GossipSub, gossipsub } from '@chainsafe/libp2p-gossipsub'
import { type Identify, identify } from '@libp2p/identify'
import type { Connection, Libp2p, PeerId, PrivateKey } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2pOptions } from 'libp2p'
import type { Logger as Log } from 'pino'
import { type ErrorCode, HyperError, messageOf } from '../errors.ts'
import { limits } from '../limits.ts'
import { ADVERT_TOPIC } from '../messages.ts'
import { type AgentGate, createAgentGate, createCoordinatorGate } from './gate.ts'
import { gathering } from './gathering.ts'
import { createHandshakes } from './handshakes.ts'
import { answerOnLan, searchLan } from './lan.ts'
import { createLibp2pLog } from './libp2p-log.ts'
import { createLogLimit } from './log-limit.ts'
import { membersOnly } from './members-only.ts'
import { checkAnnounced, checkMeshAddress } from './mesh-address.ts'
import { createWhereabouts, type Whereabouts, withoutPeerId } from './whereabouts.ts'

type GossipServices = { identify: Identify; gossip: GossipSub }
interface DialOptions {
  readonly signal: AbortSignal
  readonly onProgress: (event: { readonly type: string }) => void
}
type Dial = (address: Multiaddr, options: DialOptions) => Promise<Connection>
type DialServices = { transports: { readonly dial: Dial } }

/** What libp2p tells first once there is a TCP connection. */
const CONNECTED = 'upgrader:encrypt-outbound-connection'

interface MeshNode {
  readonly peerId: string
  readonly log: Log
  readonly stop: () => Promise<void>
}

/** A node that can reach one coordinator and nothing else. */
export interface Dialler extends MeshNode {
  readonly libp2p: Libp2p
  readonly coordinator: PeerId
  readonly whereabouts: Whereabouts<Connection>
  readonly timesProven: AgentGate['timesProven']
}

export interface AgentNode extends Dialler {
  readonly libp2p: Libp2p<GossipServices>
}

export interface CoordinatorNode extends MeshNode {
  readonly libp2p: Libp2p<GossipServices>
  readonly isMember: (peerId: string) => boolean
  readonly isInvitation: (peerId: string) => boolean
  /** Where it can be reached, without its peer id; as in a ticket. */
  readonly addresses: () => string[]
  /** Ends every connection of a peer: one that is taken off the list is not thrown out by that. */
  readonly disconnect: (peerId: string, reason?: HyperError) => void
}

interface CoordinatorNodeOptions {
  readonly key: PrivateKey
  /** Multiaddrs to listen on, and those to tell others (none: what it listens on). */
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  /** Asked at every connection, stream and advert: must be quick. */
  readonly isMember: (peerId: string) => boolean
  readonly isInvitation: (peerId: string) => boolean
  /** Why a key that is neither is turned away, for the log. Without it all are strangers. */
  readonly refusalOf?: (peerId: string) => ErrorCode
  readonly log: Log
}

interface DiallerOptions {
  readonly key: PrivateKey
  readonly coordinator: string
  /** Multiaddrs without the peer id, the best first. None: it is looked for on the LAN. */
  readonly addresses: readonly string[]
  readonly log: Log
}

export const startCoordinatorNode = async (
  options: CoordinatorNodeOptions,
): Promise<CoordinatorNode> => {
  const { key, listen, announce, isMember, isInvitation, refusalOf, log } = options
  const announced = announce.map(checkAnnounced)
  const now = performance.now.bind(performance)
  const newLimit = () => createLogLimit(limits.dropLogMs, now)
  // However many strangers come, the log has the late guests.
  const [strangers, guests, holds] = [newLimit(), newLimit(), newLimit()]
  const onRefused = (peer: string, address: string): void => {
    const code = refusalOf?.(peer) ?? 'NOT_A_MEMBER'
    const limit = code === 'NOT_A_MEMBER' ? strangers : guests
    limit.line((leftOut) => log.info({ peer, address, code, leftOut }, 'connection refused'))
  }
  const onMisused = (peer: string, protocol: string): void => {
    guests.line((leftOut) => log.warn({ peer, protocol, leftOut }, 'an invitation may only enrol'))
  }
  const libp2p = await createLibp2p({
    ...commonSettings(key, log),
    services: {
      identify: membersOnly(identify({ runOnConnectionOpen: false }), isMember, onMisused),
      gossip: membersOnly(gossip(), isMember, onMisused),
    },
    start: false,
    addresses: { listen: listen.map((address) => checkMeshAddress('--mesh', address)) },
    connectionGater: createCoordinatorGate({
      isAllowed: (peerId) => isMember(peerId) || isInvitation(peerId),
      onRefused,
      handshakes: createHandshakes(now, (address) =>
        holds.line((leftOut) =>
          log.warn({ address, code: 'FLOODED', leftOut }, 'too many handshakes of one address'),
        ),
      ),
    }),
    connectionManager: {
      maxConnections: limits.connectionsMax,
      inboundConnectionThreshold: limits.connectionsMax,
      maxIncomingPendingConnections: limits.connectionsPendingMax,
      inboundUpgradeTimeout: limits.dialMs,
    },
  })
  libp2p.addEventListener('connection:open', ({ detail: connection }) => {
    if (!isMember(connection.remotePeer.toString())) return
    libp2p.services.identify.identify(connection).catch(() => undefined)
  })
  await startListening(libp2p, listen)
  libp2p.services.gossip.subscribe(ADVERT_TOPIC)
  const peerId = libp2p.peerId.toString()
  const listening = (): string[] => libp2p.getMultiaddrs().map(withoutPeerId)
  const lan = answerOnLan({ peerId, portOn: (address) => portOn(listening(), address), log })
  return {
    ...{ libp2p, peerId, log, isMember, isInvitation },
    addresses: () => (announced.length > 0 ? announced : listening()),
    disconnect: (peer, reason = new HyperError('NOT_A_MEMBER', 'no longer a member')) => {
      for (const connection of libp2p.getConnections(peerIdFromString(peer))) {
        connection.abort(reason)
      }
    },
    async stop() {
      await lan.stop()
      await libp2p.stop()
    },
  }
}

/** Of a host's address, where one of these multiaddrs is on it. */
const portOn = (listening: readonly string[], address: string): number | null => {
  const start = `/ip4/${address}/tcp/`
  const found = listening.find((each) => each.startsWith(start))
  return found === undefined ? null : Number(found.slice(start.length))
}

export const startAgentNode = async (options: DiallerOptions): Promise<AgentNode> => {
  const gate = createAgentGate(options.coordinator)
  const libp2p = await createLibp2p({
    ...commonSettings(options.key, options.log),
    ...dialSettings(gate),
    services: { identify: identify(), gossip: gossip(), ...dialServices() },
  })
  return { ...diallerOf(libp2p, gate, options), libp2p }
}

/** A node without gossip, for the one errand of enrolling. */
export const startDialler = async (options: DiallerOptions): Promise<Dialler> => {
  const gate = createAgentGate(options.coordinator)
  const libp2p = await createLibp2p({
    ...commonSettings(options.key, options.log),
    ...dialSettings(gate),
    services: dialServices(),
  })
  return diallerOf(libp2p, gate, options)
}

const diallerOf = (
  libp2p: Libp2p<DialServices>,
  gate: AgentGate,
  { coordinator, addresses, log }: DiallerOptions,
): Dialler => ({
  libp2p,
  peerId: libp2p.peerId.toString(),
  log,
  coordinator: peerIdFromString(coordinator),
  whereabouts: createWhereabouts({
    ...{ coordinator, addresses },
    dial: (address, signal, onConnected) =>
      libp2p.services.transports.dial(address, {
        signal,
        onProgress: ({ type }) => {
          if (type === CONNECTED) onConnected()
        },
      }),
    searchLan: (tell, signal) => searchLan({ coordinator, tell, signal, log }),
    nowMs: () => performance.now(),
  }),
  timesProven: gate.timesProven,
  stop: async () => libp2p.stop(),
})

const commonSettings = (key: PrivateKey, log: Log) =>
  ({
    privateKey: key,
    logger: createLibp2pLog(log),
    nodeInfo: { name: 'hyper-func', userAgent: 'hyper-func' },
    transports: [tcp()],
    connectionEncrypters: [tls()],
    streamMuxers: [
      gathering(
        yamux({
          maxInboundStreams: limits.streamsMax,
          streamOptions: { maxStreamWindowSize: limits.streamWindowBytesMax },
        }),
      ),
    ],
    connectionMonitor: { enabled: false },
  }) satisfies Libp2pOptions

const dialSettings = (gate: AgentGate) =>
  ({
    addresses: { listen: [] },
    connectionGater: gate.gater,
  }) satisfies Libp2pOptions

/** What dials one address; libp2p hands it to services only. */
const dialServices = () => ({
  transports: ({ transportManager }: { transportManager: { dial: Dial } }) => ({
    dial: transportManager.dial.bind(transportManager),
  }),
})

/**
 * An agent publishes one advert a frame, and watch.ts counts frames: each costs no more than that. A frame
 * with more in it is not read.
 */
const GOSSIP_RPC = {
  maxMessages: 1,
  maxSubscriptions: limits.gossipItemsMax,
  maxControlMessages: limits.gossipItemsMax,
  maxIhaveMessageIDs: limits.gossipItemsMax,
  maxIwantMessageIDs: limits.gossipItemsMax,
  maxIdontwantMessageIDs: limits.gossipItemsMax,
  maxPeerInfos: limits.gossipItemsMax,
}

const gossip = () =>
  gossipsub({
    fallbackToFloodsub: false,
    allowPublishToZeroTopicPeers: true,
    allowedTopics: [ADVERT_TOPIC],
    tagMeshPeers: false,
    maxInboundDataLength: limits.gossipFrameBytesMax,
    decodeRpcLimits: GOSSIP_RPC,
    scoreParams: { IPColocationFactorWeight: 0 },
  })

const startListening = async (libp2p: Libp2p, listen: readonly string[]): Promise<void> => {
  try {
    await libp2p.start()
  } catch (error) {
    await libp2p.stop()
    const whole = messageOf(error)
    const code = whole.includes('EADDRINUSE') ? 'ADDRESS_IN_USE' : 'BAD_PARAMETER'
    // Libp2p lists the errors of all addresses, with their stacks.
    const reason = /Error: (listen .*)/.exec(whole)?.[1] ?? whole
    const message = `the mesh cannot listen on ${listen.join(', ')} (--mesh): ${reason}`
    throw new HyperError(code, message, { cause: error })
  }
}

/** Throws what listening there would. */
export const tryMesh = async (listen: readonly string[]): Promise<void> => {
  const libp2p = await createLibp2p({
    ...{ start: false, addresses: { listen: [...listen] }, transports: [tcp()] },
    connectionMonitor: { enabled: false },
  })
  await startListening(libp2p, listen)
  await libp2p.stop()
}
