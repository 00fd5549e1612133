import assert from 'node:assert/strict'
import { access, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { encodeFrame, NEVER_STARTED_STATUS } from '../../agent/init/frame.ts'
import { anyCharacter } from '../support/any-character.ts'
import { builtInit } from '../support/init-builds.ts'
import { initFrame, runInit } from '../support/init-process.ts'

const HEAD_BYTES = 88

/** What the process does; the many ways of damage are tried on its reader, in sanitized.test.ts. */
describe('hyper-init and its frame', () => {
  let folder = ''
  let initPath = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hyper-init-frame-'))
    initPath = await builtInit()
  })
  after(() => rm(folder, { recursive: true, force: true }))

  const execute = async (bytes: Uint8Array, endInput: boolean) => {
    const run = await runInit(initPath, { input: [bytes], endInput })
    await assert.rejects(access(join(folder, 'started')), 'something was executed')
    return { status: run.status, bytes: run.stdout.bodyBytes + run.stderr.bodyBytes }
  }
  const sound = () =>
    Buffer.concat(
      encodeFrame(
        initFrame({
          argv: ['touch', join(folder, 'started')],
          environment: ['A=1', 'B=2'],
          payload: Buffer.from('payload'),
        }),
      ),
    )
  const refused = { status: NEVER_STARTED_STATUS, bytes: 0 }

  test('a frame that was cut starts nothing and ends with 250', async () => {
    const property = fc.asyncProperty(fc.nat(sound().length - 1), async (length) => {
      assert.deepEqual(await execute(sound().subarray(0, length), true), refused)
    })
    await fc.assert(property, { numRuns: 10 })
  })

  test('what is not a frame ends with 250, without waiting for its end', async () => {
    const property = fc.asyncProperty(
      fc.uint8Array({ minLength: 8, maxLength: 200 }),
      async (bytes) => assert.deepEqual(await execute(bytes, false), refused),
    )
    await fc.assert(property, { numRuns: 10 })
    const shifted = Buffer.concat([Buffer.from('{"Detach":false}'), sound()])
    assert.deepEqual(await execute(shifted, false), refused)
  })

  test('numbers that do not fit the frame end with 250', async () => {
    const numbers: Readonly<Record<number, readonly number[]>> = {
      8: [(2 << 20) + 1, 0xffffffff], // Body.
      12: [(1 << 20) + 1, 0xffffffff], // Payload.
      68: [0, 65, 0xffffffff], // Stop signal.
      80: [0, 1, 3, 5, 0xffffffff], // Arguments.
      84: [0, 1, 3, 0xffffffff], // Environment.
    }
    for (const [at, values] of Object.entries(numbers)) {
      for (const value of values) {
        const bytes = sound()
        bytes.writeUInt32LE(value, Number(at))
        assert.deepEqual(await execute(bytes, false), refused, `${value} at ${at}`)
      }
    }
  })

  test('a body that is not what it says ends with 250', async () => {
    const unended = sound()
    unended[HEAD_BYTES + unended.readUInt32LE(8) - 1] = 0x41
    assert.deepEqual(await execute(unended, false), refused)
    const front = initFrame({ argv: ['A=1'], environment: ['B=2'] })
    const commandless = Buffer.concat(encodeFrame(front))
    commandless.writeUInt32LE(0, 80)
    commandless.writeUInt32LE(2, 84)
    assert.deepEqual(await execute(commandless, false), refused)
    const nameless = sound()
    nameless[nameless.indexOf('A=1')] = 0x3d
    assert.deepEqual(await execute(nameless, false), refused)
  })

  test('arguments, environment and payload arrive as they were', async () => {
    const text = fc.string({ unit: anyCharacter, maxLength: 40 }).filter((s) => !s.includes('\0'))
    const property = fc.asyncProperty(
      fc.array(text, { maxLength: 5 }),
      text,
      fc.uint8Array({ maxLength: 100 }),
      async (args, value, payload) => {
        const script = 'printf "%s\\0" "$@" "$VALUE"; cat'
        const argv = ['sh', '-c', script, 'sh', ...args]
        const frame = initFrame({ argv, environment: ['VALUE=old', `VALUE=${value}`], payload })
        const run = await runInit(initPath, { frame, input: encodeFrame(frame) })
        const expected = [...args, value].map((arg) => `${arg}\0`).join('')
        assert.deepEqual(
          Buffer.from(run.stdout.body()),
          Buffer.concat([Buffer.from(expected), payload]),
        )
        assert.equal(run.stdout.trailer?.reason, 'exited')
      },
    )
    await fc.assert(property, { numRuns: 8 })
  })
})
