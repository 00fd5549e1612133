/**
 * The codec of a join ticket: where the coordinator is, which key it must prove, and the
 * invitation's own key, which is a secret until it is spent. Whether a ticket has expired or is
 * spent is not decided here: only the coordinator's list and clock count.
 *
 * A ticket has at most limits.ticketCharsMax characters, however many addresses the coordinator has:
 * of those that are handed in, in their order, it takes what fits. So keys are in it as 32 bytes each
 * and its time in seconds: of version 1, which had them as libp2p writes them, 46 bytes were left for
 * addresses, and a common host name of a cloud was too long. Version 1 is still read.
 */

import * as cbor from '@ipld/dag-cbor'
import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromMultihash, peerIdFromPublicKey, peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import * as Digest from 'multiformats/hashes/digest'
import Type from 'typebox'
import { HyperError } from '../errors.ts'
import { limits } from '../limits.ts'
import { Bytes, createParser } from '../schema.ts'
import { decodeCheckedText, encodeCheckedText } from './checked-text.ts'
import { invitationKeyBytes, parsePrivateKey } from './identity.ts'

export interface Ticket {
  /** Multiaddrs without the peer id. None: the coordinator is looked for on the LAN (lan.ts). */
  readonly addresses: readonly string[]
  /** Peer id. */
  readonly coordinator: string
  /** The invitation's key: the 32 bytes that it is made of (identity.ts). */
  readonly invitation: Uint8Array
  /** Milliseconds since the epoch, whole seconds. */
  readonly expires: number
}

const ticketVersion = 2
const keyBytes = 32
const fieldBytesMax = 1024
/** A date has no later time. */
const secondsMax = 8.64e12

const parseVersion = createParser(
  Type.Object({ v: Type.Integer({ minimum: 1 }) }),
  'TICKET_DAMAGED',
  'ticket',
)
/** Short names: people copy tickets. */
const FieldsSchema = Type.Object({
  v: Type.Integer(),
  a: Type.Array(Bytes(fieldBytesMax), { maxItems: limits.ticketAddressesMax }),
  c: Bytes(fieldBytesMax),
  k: Bytes(fieldBytesMax),
  e: Type.Integer({ minimum: 0, maximum: secondsMax }),
})
const parseFields = createParser(FieldsSchema, 'TICKET_DAMAGED', 'ticket')

interface Fields {
  readonly addresses: readonly string[]
  readonly coordinator: Uint8Array
  readonly invitation: Uint8Array
  readonly expires: number
}

const encodeFields = ({ addresses, coordinator, invitation, expires }: Fields): string =>
  encodeCheckedText(
    cbor.encode({
      v: ticketVersion,
      a: addresses.map((text) => multiaddr(text).bytes),
      c: coordinator,
      k: invitation,
      e: Math.ceil(expires / 1000),
    }),
  )

/** Throws BAD_PARAMETER where none of the given addresses fits. */
export const encodeTicket = (ticket: Ticket): string => {
  const key = peerIdFromString(ticket.coordinator).publicKey
  if (key?.type !== 'Ed25519') throw new HyperError('INTERNAL', 'the coordinator has another key')
  const fields = { ...ticket, coordinator: key.raw }
  let taken: readonly string[] = []
  let text = ticket.addresses.length === 0 ? encodeFields(fields) : ''
  for (const address of ticket.addresses.slice(0, limits.ticketAddressesMax)) {
    const longer = encodeFields({ ...fields, addresses: [...taken, address] })
    // A shorter one further back may still fit.
    if (longer.length > limits.ticketCharsMax) continue
    taken = [...taken, address]
    text = longer
  }
  if (text !== '') return text
  throw new HyperError('BAD_PARAMETER', 'the coordinator has no address that fits into a ticket')
}

/** Whether a ticket has room for it, be it the only one. */
export const fitsTicket = (address: string): boolean => {
  const key = new Uint8Array(keyBytes).fill(255)
  const fields = { coordinator: key, invitation: key, expires: Date.UTC(2100, 0) }
  return encodeFields({ ...fields, addresses: [address] }).length <= limits.ticketCharsMax
}

/** White space anywhere is dropped: a long ticket is copied over broken lines. */
export const decodeTicket = (text: string): Ticket => {
  const bytes =
    text.length > limits.ticketTextCharsMax ? null : decodeCheckedText(text.replace(/\s/g, ''))
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
  if (v > ticketVersion) {
    throw new HyperError('VERSION_MISMATCH', `the ticket is of a later version (${v})`)
  }
  const { a, c, k, e } = parseFields(value)
  const addresses = a.map((bytes) => multiaddr(bytes).toString())
  if (v === 1) {
    const key = parsePrivateKey(k)
    if (key === null) throw new HyperError('TICKET_DAMAGED', 'the ticket holds no key')
    const coordinator = peerIdFromMultihash(Digest.decode(c)).toString()
    return { addresses, coordinator, invitation: invitationKeyBytes(key), expires: e }
  }
  if (c.byteLength !== keyBytes || k.byteLength !== keyBytes) {
    throw new HyperError('TICKET_DAMAGED', 'the ticket holds no key')
  }
  const coordinator = peerIdFromPublicKey(publicKeyFromRaw(c)).toString()
  return { addresses, coordinator, invitation: k, expires: e * 1000 }
}
