/**
 * What members do on the mesh beside what they say on their channels. Every second, and whenever one
 * connects:
 *
 * - its oldest connections are ended above a bound: those that broke unnoticed go first;
 * - one that connects again and again, opens stream after stream, or holds many open, is an offender;
 * - so is one that gossips frame after frame, be it adverts or gossipsub's own words: what it still has in
 *   our buffers is not read, for that would hold up everybody else;
 * - a connection without a channel is of no use: it is ended;
 * - one that was heard by gossip, and then not for several adverts, is cut off, so that the agent
 *   connects anew: gossipsub gives up a peer for good, in silence, after one frame that it cannot read.
 */

import type { Connection, PeerId } from '@libp2p/interface'
import { HyperError } from '../errors.ts'
import { limits } from '../limits.ts'
import { AGENT_PROTOCOL } from '../messages.ts'
import { createRate, createRates } from '../rate.ts'
import type { CoordinatorNode } from './node.ts'

interface WatchDeps {
  readonly onOffence: (peerId: string, offence: HyperError) => void
  readonly now: () => number
  /** How long its adverts may stay away. */
  readonly advertSilenceMs?: number
}

interface Watch {
  /** An advert came. */
  heard(peerId: string): void
}

export const watchMembers = (node: CoordinatorNode, deps: WatchDeps): Watch => {
  const { onOffence, now, advertSilenceMs = limits.advertSilenceMs } = deps
  const connects = createRates(
    {
      perSecond: limits.memberConnectsPerSecondMax,
      burst: limits.memberConnectsBurstMax,
      namesMax: limits.membersMax,
    },
    now,
  )
  const frames = createRates(
    {
      perSecond: limits.memberGossipPerSecondMax,
      burst: limits.memberGossipBurstMax,
      namesMax: limits.membersMax,
    },
    now,
  )
  const openedAt = new WeakMap<Connection, number>()
  const advertAt = new Map<string, number>()

  const isOfMember = ({ remotePeer }: Connection): boolean => node.isMember(remotePeer.toString())

  /**
   * Those beyond a protocol's own bound are refused one by one, and never seen among the connection's:
   * libp2p's muxer alone knows of each, and that is not among its types.
   */
  const countStreams = (connection: Connection): void => {
    const muxer: unknown = Reflect.get(connection, 'muxer')
    if (!(muxer instanceof EventTarget)) throw new Error('streams cannot be counted')
    const opened = createRate({
      perSecond: limits.memberStreamsPerSecondMax,
      burst: limits.memberStreamsBurstMax,
    })
    muxer.addEventListener('stream', () => {
      if (opened.take(now())) return
      const peerId = connection.remotePeer.toString()
      onOffence(peerId, new HyperError('FLOODED', 'it opens stream after stream'))
    })
  }

  /** Counted before they are decoded. Gossipsub alone has them one by one, and that is not among its types. */
  const countFrames = (): void => {
    const { gossip } = node.libp2p.services
    const read: unknown = Reflect.get(gossip, 'pipePeerReadStream')
    if (typeof read !== 'function') throw new Error('frames of gossip cannot be counted')
    const counted = async function* <F>(peer: PeerId, source: AsyncIterable<F>): AsyncGenerator<F> {
      const peerId = peer.toString()
      for await (const frame of source) {
        if (!frames.take(peerId)) {
          onOffence(peerId, new HyperError('FLOODED', 'it gossips frame after frame'))
          return
        }
        yield frame
      }
    }
    Reflect.set(gossip, 'pipePeerReadStream', <F>(peer: PeerId, source: AsyncIterable<F>) =>
      read.call(gossip, peer, counted(peer, source)),
    )
  }

  const onOpen = (connection: Connection): void => {
    openedAt.set(connection, now())
    if (!isOfMember(connection)) return
    countStreams(connection)
    const peerId = connection.remotePeer.toString()
    const open = node.libp2p.getConnections(connection.remotePeer)
    const first = open.find((other) => other !== connection)
    if (open.length > limits.memberConnectionsMax) {
      first?.abort(new HyperError('FLOODED', 'newer connections took its place'))
    }
    if (connects.take(peerId)) return
    onOffence(peerId, new HyperError('FLOODED', 'it connects again and again'))
  }

  const look = (connection: Connection): void => {
    const peerId = connection.remotePeer.toString()
    const streams = connection.streams.filter(({ direction }) => direction === 'inbound')
    if (streams.length > limits.memberStreamsMax) {
      onOffence(peerId, new HyperError('FLOODED', `it holds ${streams.length} streams open`))
      return
    }
    const openMs = now() - (openedAt.get(connection) ?? now())
    if (openMs > limits.helloMs && !streams.some(({ protocol }) => protocol === AGENT_PROTOCOL)) {
      connection.abort(new HyperError('UNREACHABLE', 'no channel was opened'))
      return
    }
    const silentMs = now() - (advertAt.get(peerId) ?? now())
    if (silentMs <= advertSilenceMs) return
    node.log.warn({ peer: peerId, code: 'UNREACHABLE', silentMs }, 'no adverts come: cut off')
    connection.abort(new HyperError('UNREACHABLE', 'its adverts do not come'))
  }

  countFrames()
  node.libp2p.addEventListener('connection:open', ({ detail }) => onOpen(detail))
  node.libp2p.addEventListener('peer:disconnect', ({ detail }) =>
    advertAt.delete(detail.toString()),
  )
  const timer = setInterval(() => {
    for (const connection of node.libp2p.getConnections()) {
      if (isOfMember(connection)) look(connection)
    }
  }, limits.connectionsLookMs)
  timer.unref()
  node.libp2p.addEventListener('stop', () => clearInterval(timer), { once: true })
  return { heard: (peerId) => void advertAt.set(peerId, now()) }
}
