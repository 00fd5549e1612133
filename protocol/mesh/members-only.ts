/**
 * Services of libp2p for members alone. The coordinator's gate lets in invitations as well, which may
 * do nothing but enrol: identify would tell them what runs here, gossip would take their subscriptions.
 * Our own protocols look for themselves.
 *
 * It stands between a service and libp2p's registrar. Its middleware would be the place, but as of
 * libp2p 3.3 it keeps what it ran: the handler of each stream would run once more for every later one.
 */

import type { Connection, Stream } from '@libp2p/interface'
import { HyperError } from '../errors.ts'

type Handler = (stream: Stream, connection: Connection) => void | Promise<void>

interface Components {
  readonly registrar: {
    handle(protocol: string, handler: Handler, options?: object): Promise<void>
  }
}

export const membersOnly =
  <C extends Components, S>(
    create: (components: C) => S,
    isMember: (peerId: string) => boolean,
    onRefused: (peerId: string, protocol: string) => void,
  ) =>
  (components: C): S => {
    const { registrar } = components
    const handle = (protocol: string, handler: Handler, options?: object): Promise<void> =>
      registrar.handle(
        protocol,
        (stream, connection) => {
          const peerId = connection.remotePeer.toString()
          if (isMember(peerId)) return handler(stream, connection)
          onRefused(peerId, protocol)
          connection.abort(new HyperError('NOT_A_MEMBER', 'not a member'))
        },
        options,
      )
    const guarded: C['registrar'] = Object.create(registrar, { handle: { value: handle } })
    return create(Object.create(components, { registrar: { value: guarded } }))
  }
