import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { limits } from '../../protocol/limits.ts'
import { gather } from '../../protocol/mesh/gathering.ts'

const DATA = 0
const WINDOW_UPDATE = 1
const FIN = 4

const frameOf = (type: number, flags: number, length: number, data = 0): Uint8Array => {
  const frame = new Uint8Array(12 + data).fill(7)
  const header = new DataView(frame.buffer)
  header.setUint8(0, 0)
  header.setUint8(1, type)
  header.setUint16(2, flags)
  header.setUint32(4, 1)
  header.setUint32(8, length)
  return frame
}
const update = (given: number): Uint8Array => frameOf(WINDOW_UPDATE, 0, given)

const begin = () => {
  const sent: Uint8Array[] = []
  const send = gather((frame) => {
    sent.push(frame.subarray())
    return false
  })
  return { sent, send }
}
const joined = (...frames: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(frames))
const plain = (frames: Uint8Array[]): Uint8Array[] => frames.map((frame) => new Uint8Array(frame))

describe('frames of the muxer', () => {
  test('a small window update waits for the next frame and goes in one piece with it', () => {
    const { sent, send } = begin()
    const data = frameOf(DATA, 0, 5, 5)
    assert.equal(send(update(36)), true)
    assert.equal(send(update(48)), true)
    assert.equal(sent.length, 0)
    assert.equal(send(data), false)
    assert.deepEqual(plain(sent), [joined(update(36), update(48), data)])
    send(data)
    assert.deepEqual(plain(sent.slice(1)), [data])
  })

  test('the end of a stream, in an update of the window, is sent at once', () => {
    const { sent, send } = begin()
    const end = frameOf(WINDOW_UPDATE, FIN, 0)
    send(end)
    assert.deepEqual(plain(sent), [end])
  })

  test('updates that come to much are sent without another frame', () => {
    const { sent, send } = begin()
    const half = limits.windowHeldBytesMax / 2
    send(update(half))
    assert.equal(sent.length, 0)
    send(update(half))
    assert.deepEqual(plain(sent), [joined(update(half), update(half))])
  })

  test('so are many small ones', () => {
    const { sent, send } = begin()
    for (let at = 0; at < limits.windowHeldFramesMax; at += 1) send(update(1))
    assert.equal(sent.length, 0)
    send(update(1))
    assert.equal(sent[0]?.byteLength, 12 * (limits.windowHeldFramesMax + 1))
  })

  test('a large frame is not copied, and does not overtake what was held', () => {
    const { sent, send } = begin()
    const large = frameOf(DATA, 0, limits.gatheredBytesMax, limits.gatheredBytesMax)
    send(update(10))
    send(large)
    assert.deepEqual(plain(sent.slice(0, 1)), [update(10)])
    assert.equal(sent[1]?.buffer, large.buffer)
  })
})
