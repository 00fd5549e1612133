import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { encodeFrame } from '../../agent/init/frame.ts'
import { initFrame } from '../support/init-process.ts'

describe('a frame', () => {
  test('is refused where hyper-init would refuse it', () => {
    const base = { argv: ['true'] }
    const wrong = [
      { argv: [] },
      { argv: ['a\0b'] },
      { ...base, environment: ['NOVALUE'] },
      { ...base, environment: ['=x'] },
      { ...base, payload: new Uint8Array((1 << 20) + 1) },
      { ...base, environment: [`A=${'x'.repeat(2 << 20)}`] },
      { ...base, stopSignal: 0 },
      { ...base, timeoutMs: -1 },
      { ...base, headerNonce: new Uint8Array(15) },
      { ...base, callId: 'no uuid' },
    ]
    for (const part of wrong) assert.throws(() => encodeFrame(initFrame(part)))
  })

  test('does not copy the payload', () => {
    const payload = new Uint8Array(1000)
    assert.equal(encodeFrame(initFrame({ argv: ['true'], payload }))[1], payload)
  })
})
