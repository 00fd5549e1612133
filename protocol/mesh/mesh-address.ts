/** Addresses of the mesh as people write them, checked before anything is done with them. */

import { multiaddr } from '@multiformats/multiaddr'
import { HyperError, messageOf } from '../errors.ts'
import { limits } from '../limits.ts'
import { fitsTicket } from './ticket.ts'
import { withoutPeerId } from './whereabouts.ts'

/** Libp2p reads addresses late, where a wrong one would end the process. Throws BAD_PARAMETER. */
export const checkMeshAddress = (flag: string, text: string): string => {
  try {
    return multiaddr(text).toString()
  } catch (error) {
    const message = `${flag}: ${text} is no multiaddr (such as /ip4/0.0.0.0/tcp/7481): ${messageOf(error)}`
    throw new HyperError('BAD_PARAMETER', message, { cause: error })
  }
}

/** So that each ticket has at least this one. */
export const checkAnnounced = (text: string): string => {
  const address = checkMeshAddress('--announce', text)
  if (fitsTicket(withoutPeerId(multiaddr(address)))) return address
  const message = `--announce: ${text} is too long: a ticket has ${limits.ticketCharsMax} characters; announce a shorter name, or the IP address`
  throw new HyperError('BAD_PARAMETER', message)
}
