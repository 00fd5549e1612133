import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createStreamParser } from '../../agent/init/frame.ts'
import { decodeTrailer, encodeHeader } from '../../agent/init/marks.ts'
import { createDemuxer } from '../../agent/runner/demux.ts'

const callId = '0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d'
const headerNonce = Buffer.from('hhhhhhhhhhhhhhhh')
/** It overlaps with itself, so that a search that starts again too late misses it. */
const trailerNonce = Buffer.from('ababababababcaba')
const header = encodeHeader(headerNonce, callId, 7)
const trailer = Buffer.concat([trailerNonce, Buffer.from([1, 0, 3, 0])])

const fragment = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc.constant(header),
  fc.nat(15).map((length) => trailerNonce.subarray(0, length)),
  fc.nat(19).map((length) => trailer.subarray(0, length)),
  fc.constant(Buffer.concat([trailerNonce, Buffer.from([99, 0, 0, 0])])),
  fc.constant(Buffer.from('abababab')),
)
const bodies = fc.array(fragment, { maxLength: 12 }).map((parts) => Buffer.concat(parts))

function inChunks(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = cuts.map((cut) => Math.floor(cut * bytes.length)).sort((a, b) => a - b)
  return [...ends, bytes.length].map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end))
}
const cutsOf = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 40 })

/** The plainest search there is: the first trailer in all that was written. */
function firstTrailer(bytes: Buffer): number {
  for (let at = 0; at + trailer.length <= bytes.length; at++) {
    const isNonce = bytes.subarray(at, at + 16).equals(trailerNonce)
    if (isNonce && decodeTrailer(bytes, at + 16) !== null) return at
  }
  return -1
}

const parserOf = (bytesMax: number, onOverflow: () => void = () => undefined) =>
  createStreamParser({ headerNonce, trailerNonce, callId, attempt: 7, bytesMax, onOverflow })

describe('the parser of a stream', () => {
  test('finds header, body and trailer however the stream is cut', () => {
    fc.assert(
      fc.property(bodies, bodies, cutsOf, (body, rest, cuts) => {
        const written = Buffer.concat([body, trailer, rest])
        const parser = parserOf(1 << 20)
        for (const chunk of inChunks(Buffer.concat([header, written]), cuts)) parser.push(chunk)
        const end = firstTrailer(written)
        assert.ok(parser.headerSeen && !parser.headerMissing)
        assert.equal(parser.state, 'ended')
        assert.deepEqual(Buffer.from(parser.body()), written.subarray(0, end))
        assert.equal(parser.bodyBytes, end)
        assert.deepEqual(parser.trailer, decodeTrailer(written, end + 16))
      }),
      { numRuns: 500 },
    )
  })

  test('gives back every byte of a stream without a trailer, whatever it looks like', () => {
    fc.assert(
      fc.property(bodies, cutsOf, fc.boolean(), (body, cuts, framed) => {
        fc.pre(firstTrailer(body) < 0)
        const parser = parserOf(1 << 20)
        const stream = framed ? Buffer.concat([header, body]) : Buffer.concat([body])
        fc.pre(framed || !stream.subarray(0, header.length).equals(header))
        for (const chunk of inChunks(stream, cuts)) parser.push(chunk)
        parser.end()
        assert.equal(parser.trailer, null)
        assert.equal(parser.headerMissing, !framed)
        assert.equal(parser.headerSeen, framed)
        assert.deepEqual(Buffer.from(parser.body()), body)
      }),
      { numRuns: 300 },
    )
  })

  test('keeps the first bytes, counts all, and tells of the overflow once', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), cutsOf, fc.nat(300), (body, cuts, max) => {
        fc.pre(firstTrailer(Buffer.from(body)) < 0)
        let overflows = 0
        const parser = parserOf(max, () => {
          overflows++
        })
        const stream = Buffer.concat([header, body, trailer])
        for (const chunk of inChunks(stream, cuts)) parser.push(chunk)
        assert.deepEqual(Buffer.from(parser.body()), Buffer.from(body.subarray(0, max)))
        assert.equal(parser.bodyBytes, body.length)
        assert.equal(parser.overflowed, body.length > max)
        assert.equal(overflows, body.length > max ? 1 : 0)
        assert.equal(parser.state, 'ended')
      }),
    )
  })

  test('sees a header of another attempt as missing, and the trailer all the same', () => {
    const parser = parserOf(1000)
    const other = encodeHeader(headerNonce, callId, 8)
    parser.push(Buffer.concat([other, trailer]))
    assert.ok(parser.headerMissing && !parser.headerSeen)
    assert.deepEqual(Buffer.from(parser.body()), other)
    assert.deepEqual(parser.trailer, { reason: 'exited', bySignal: false, status: 3 })
  })

  test('takes a megabyte in single bytes in linear time', () => {
    const parser = parserOf(1 << 20)
    const body = Buffer.alloc(1 << 20, 'ab')
    const stream = Buffer.concat([header, body, trailer])
    for (let at = 0; at < stream.length; at++) parser.push(stream.subarray(at, at + 1))
    assert.ok(body.equals(parser.body()))
    assert.equal(parser.state, 'ended')
  })
})

describe('the demuxer', () => {
  const frameOf = (stream: number, bytes: Uint8Array) => {
    const head = Buffer.alloc(8)
    head.writeUInt8(stream, 0)
    head.writeUInt32BE(bytes.length, 4)
    return Buffer.concat([head, bytes])
  }

  test('separates the streams however they are cut', () => {
    const part = fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 50 }))
    fc.assert(
      fc.property(fc.array(part), cutsOf, (parts, cuts) => {
        const got: Record<number, Uint8Array[]> = { 1: [], 2: [] }
        const demuxer = createDemuxer({
          onStdout: (chunk) => got[1]?.push(chunk),
          onStderr: (chunk) => got[2]?.push(chunk),
        })
        const stream = Buffer.concat(parts.map(([kind, bytes]) => frameOf(kind, bytes)))
        for (const chunk of inChunks(stream, cuts)) demuxer.push(chunk)
        for (const kind of [1, 2]) {
          const sent = parts.filter(([of]) => of === kind).map(([, bytes]) => bytes)
          assert.deepEqual(Buffer.concat(got[kind] ?? []), Buffer.concat(sent))
        }
      }),
    )
  })

  test('throws on what the engine cannot have sent, and ever after', () => {
    const nothing = () => undefined
    const demuxer = createDemuxer({ onStdout: nothing, onStderr: nothing })
    assert.throws(() => demuxer.push(frameOf(3, Buffer.from('x'))), /not a frame/)
    assert.throws(() => demuxer.push(frameOf(1, Buffer.from('x'))), /broken/)
  })
})
