import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import * as cbor from '@ipld/dag-cbor'
import fc from 'fast-check'
import { base32 } from 'multiformats/bases/base32'
import { base58btc } from 'multiformats/bases/base58'
import { base64url } from 'multiformats/bases/base64'
import { HyperError } from '../../protocol/errors.ts'
import { encodeCheckedText } from '../../protocol/mesh/checked-text.ts'
import { createInvitation } from '../../protocol/mesh/identity.ts'
import { decodeTicket, encodeTicket, type Ticket } from '../../protocol/mesh/ticket.ts'

const codeOf = (text: string): string => {
  try {
    decodeTicket(text)
    return 'accepted'
  } catch (error) {
    return error instanceof HyperError ? error.code : `no HyperError: ${error}`
  }
}

const isCaseOf = (one: string | undefined, other: string): boolean =>
  one?.toLowerCase() === other.toLowerCase()

describe('a ticket', () => {
  let ticket: Ticket
  let text: string
  before(async () => {
    const invitation = await createInvitation()
    ticket = {
      addresses: ['/ip4/192.0.2.1/tcp/7481', '/dns4/coordinator.example/tcp/7481'],
      coordinator: (await createInvitation()).peerId,
      invitation: invitation.key,
      expires: 1_800_000_000_000,
    }
    text = encodeTicket(ticket)
  })

  test('comes back as it was', () => {
    assert.match(text, /^z[1-9A-HJ-NP-Za-km-z]+$/)
    assert.deepEqual(decodeTicket(text), ticket)
  })

  test('is read from base32 and base64url, too', () => {
    const sealed = base58btc.decode(text)
    assert.deepEqual(decodeTicket(base32.encode(sealed)), ticket)
    assert.deepEqual(decodeTicket(base64url.encode(sealed)), ticket)
  })

  test('is read across broken lines', () => {
    assert.deepEqual(decodeTicket(`  ${text.slice(0, 60)}\r\n  ${text.slice(60)}\n`), ticket)
  })

  test('is damaged when any one character is changed', () => {
    const sealed = base58btc.decode(text)
    const texts = [text, base32.encode(sealed), base64url.encode(sealed)]
    const printable = fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code))
    fc.assert(
      fc.property(fc.constantFrom(...texts), fc.nat(), printable, (whole, at, character) => {
        const index = at % whole.length
        // Base32 reads both cases as the same character: that changes nothing.
        const isSame = whole.startsWith('b') && index > 0 && isCaseOf(whole[index], character)
        fc.pre(whole[index] !== character && !isSame)
        const changed = whole.slice(0, index) + character + whole.slice(index + 1)
        assert.equal(codeOf(changed), 'TICKET_DAMAGED')
      }),
      { numRuns: 2000 },
    )
  })

  test('is damaged when it is cut anywhere', () => {
    for (let length = 0; length < text.length; length += 1) {
      assert.equal(codeOf(text.slice(0, length)), 'TICKET_DAMAGED')
      assert.equal(codeOf(text.slice(text.length - length)), 'TICKET_DAMAGED')
    }
  })

  test('is damaged when it is something else altogether', () => {
    fc.assert(fc.property(fc.string(), (other) => codeOf(other) === 'TICKET_DAMAGED'))
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) =>
        ['TICKET_DAMAGED', 'VERSION_MISMATCH'].includes(codeOf(encodeCheckedText(bytes))),
      ),
    )
    assert.equal(codeOf('z'.repeat(1_000_000)), 'TICKET_DAMAGED')
  })

  test('of a later version says so', () => {
    assert.equal(codeOf(encodeCheckedText(cbor.encode({ v: 2, x: 1 }))), 'VERSION_MISMATCH')
  })
})
