/**
 * The codec of a join ticket: where the coordinator is, which key it must prove, and the
 * invitation's own key, which is a secret until it is spent. Whether a ticket has expired or is
 * spent is not decided here: only the coordinator's list and clock count.
 */

import * as cbor from '@ipld/dag-cbor'
import { peerIdFromMultihash, peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import * as Digest from 'multiformats/hashes/digest'
import Type from 'typebox'
import { HyperError } from '../errors.ts'
import { limits } from '../limits.ts'
import { Bytes, createParser } from '../schema.ts'
import { decodeCheckedText, encodeCheckedText } from './checked-text.ts'
import { parsePrivateKey } from './identity.ts'

export interface Ticket {
  /** Multiaddrs without the peer id. */
  readonly addresses: readonly string[]
  /** Peer id. */
  readonly coordinator: string
  /** The invitation's private key (Ed25519, protobuf). */
  readonly invitation: Uint8Array
  /** Milliseconds since the epoch. */
  readonly expires: number
}

const ticketVersion = 1
const fieldBytesMax = 1024

const parseVersion = createParser(
  Type.Object({ v: Type.Integer({ minimum: 1 }) }),
  'TICKET_DAMAGED',
  'ticket',
)
/** Short names: people copy tickets. */
const parseFields = createParser(
  Type.Object({
    v: Type.Literal(ticketVersion),
    a: Type.Array(Bytes(fieldBytesMax), { minItems: 1, maxItems: limits.ticketAddressesMax }),
    c: Bytes(fieldBytesMax),
    k: Bytes(fieldBytesMax),
    e: Type.Integer({ minimum: 0 }),
  }),
  'TICKET_DAMAGED',
  'ticket',
)

export const encodeTicket = (ticket: Ticket): string =>
  encodeCheckedText(
    cbor.encode({
      v: ticketVersion,
      a: ticket.addresses.slice(0, limits.ticketAddressesMax).map((text) => multiaddr(text).bytes),
      c: peerIdFromString(ticket.coordinator).toMultihash().bytes,
      k: ticket.invitation,
      e: ticket.expires,
    }),
  )

/** White space anywhere is dropped: a long ticket is copied over broken lines. */
export const decodeTicket = (text: string): Ticket => {
  const bytes =
    text.length > limits.ticketCharsMax ? null : decodeCheckedText(text.replace(/\s/g, ''))
  if (bytes === null) throw new HyperError('TICKET_DAMAGED', 'the ticket is damaged or cut off')
  try {
    return parseTicket(cbor.decode(bytes))
  } catch (error) {
    if (error instanceof HyperError) throw error
    throw new HyperError('TICKET_DAMAGED', 'the ticket is no ticket', { cause: error })
  }
}

const parseTicket = (value: unknown): Ticket => {
  const { v } = parseVersion(value)
  if (v !== ticketVersion) {
    throw new HyperError('VERSION_MISMATCH', `the ticket is of a later version (${v})`)
  }
  const fields = parseFields(value)
  if (parsePrivateKey(fields.k) === null) {
    throw new HyperError('TICKET_DAMAGED', 'the ticket holds no key')
  }
  return {
    addresses: fields.a.map((bytes) => multiaddr(bytes).toString()),
    coordinator: peerIdFromMultihash(Digest.decode(fields.c)).toString(),
    invitation: fields.k,
    expires: fields.e,
  }
}
