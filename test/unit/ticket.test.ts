import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import * as cbor from '@ipld/dag-cbor'
import { multiaddr } from '@multiformats/multiaddr'
import fc from 'fast-check'
import { base32 } from 'multiformats/bases/base32'
import { base58btc } from 'multiformats/bases/base58'
import { base64url } from 'multiformats/bases/base64'
import { HyperError } from '../../protocol/errors.ts'
import { encodeCheckedText } from '../../protocol/mesh/checked-text.ts'
import { createInvitation, invitationKey } from '../../protocol/mesh/identity.ts'
import { decodeTicket, encodeTicket, fitsTicket, type Ticket } from '../../protocol/mesh/ticket.ts'
import { idOf } from '../support/mesh.ts'

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

/** Made by the program that wrote version 1. */
const OF_VERSION_1 = {
  text: 'z6W9DqfwQ95Nmph1cU7guC2sBJUPfPnJ4q6BJdq7VsXENnfbSJ8stygoTDcfnQLt9KfbsgVq7XZgr56jtRgZMfSqJv3DGKmDAH3Adua53bbnzmY2JGHztngQQLsgbRf6yQkj8CTcXFC8uWne3qApxUYMy1hbrP3ZxKAJBo29Uer7Fd5t4wUxXftA4bCQaEkTAQxdUVFjupGJkf5VpSCyVwDEyyPiBNwN6fQF1Hip53p',
  coordinator: '12D3KooWAntYnACfBnoFuRCMnAsTEKLqv2v5v1GYdKygD7K9Q9mq',
  invitation: '12D3KooWPqw95oWVrt5g5c7Qc6xcpQ1R1mw2MoLaPn9vvBWRinPE',
}

const port = fc.integer({ min: 1, max: 65_535 })
const anyAddress = fc
  .oneof(
    fc.ipV4().map((ip) => `/ip4/${ip}`),
    fc.ipV6().map((ip) => `/ip6/${ip}`),
    fc.stringMatching(/^[a-z]([a-z0-9.-]{0,70}[a-z])?$/).map((name) => `/dns4/${name}`),
    fc.stringMatching(/^[a-z]{1,20}$/).map((name) => `/dns6/${name}`),
  )
  .chain((host) => port.map((number) => multiaddr(`${host}/tcp/${number}`).toString()))

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
    assert.equal(codeOf(encodeCheckedText(cbor.encode({ v: 3, x: 1 }))), 'VERSION_MISMATCH')
  })

  test('of version 1 is read', async () => {
    const { invitation: seed, ...rest } = decodeTicket(OF_VERSION_1.text)
    assert.equal(idOf(await invitationKey(seed)), OF_VERSION_1.invitation)
    const { addresses, expires } = ticket
    assert.deepEqual(rest, { addresses, coordinator: OF_VERSION_1.coordinator, expires })
  })

  test('has at most 250 characters, with the first address that fits and more where there is room', () => {
    fc.assert(
      fc.property(fc.array(anyAddress, { minLength: 1, maxLength: 40 }), (addresses) => {
        const whole = encodeTicket({ ...ticket, addresses })
        assert.ok(whole.length <= 250, `${whole.length} characters`)
        const { addresses: taken, ...rest } = decodeTicket(whole)
        assert.deepEqual({ ...rest, addresses: ticket.addresses }, ticket)
        assert.equal(taken[0], addresses[0])
        const left = [...addresses]
        for (const each of taken) left.splice(0, left.indexOf(each) + 1)
        // In their order; and none that was left out behind the last would have fitted.
        for (const each of left) {
          assert.equal(encodeTicket({ ...ticket, addresses: [...taken, each] }), whole)
        }
      }),
    )
  })

  test('holds ten addresses of IPv4, four of IPv6, or a name of 80 characters', () => {
    const take = (count: number, address: (n: number) => string): number =>
      decodeTicket(
        encodeTicket({ ...ticket, addresses: Array.from({ length: count }, (_, n) => address(n)) }),
      ).addresses.length
    assert.equal(
      take(20, (n) => `/ip4/192.0.2.${n}/tcp/7481`),
      10,
    )
    assert.equal(
      take(20, (n) => `/ip6/2001:db8::${n + 1}/tcp/7481`),
      4,
    )
    assert.ok(fitsTicket(`/dns4/${'n'.repeat(80)}/tcp/7481`))
  })

  test('can have none, for a coordinator that is found on the LAN', () => {
    const without = { ...ticket, addresses: [] }
    assert.deepEqual(decodeTicket(encodeTicket(without)), without)
  })

  test('goes without an address that is too long, and is none where no other was given', () => {
    const long = `/dns4/${'n'.repeat(253)}/tcp/7481`
    const short = '/ip4/192.0.2.1/tcp/7481'
    assert.ok(!fitsTicket(long))
    const { addresses } = decodeTicket(encodeTicket({ ...ticket, addresses: [long, short] }))
    assert.deepEqual(addresses, [short])
    assert.throws(() => encodeTicket({ ...ticket, addresses: [long] }), { code: 'BAD_PARAMETER' })
  })
})
