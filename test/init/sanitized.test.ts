/**
 * encodeFrame() and the reader in C against each other: sound frames arrive as they were, damaged
 * ones are refused by the same rules, and no byte is touched that is not the reader's.
 */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { encodeFrame, type InitFrame } from '../../agent/init/frame.ts'
import { limits } from '../../protocol/limits.ts'
import { anyCharacter } from '../support/any-character.ts'
import { builtProgram } from '../support/init-builds.ts'

const CASES = 4000
const HEAD_BYTES = 88
const MAGIC = Buffer.from('\x89HYFRM1\n', 'latin1')
/** Where the numbers stand that say how much follows, or must be in a range. */
const NUMBERS_AT = [8, 12, 68, 80, 84]

type Case = { readonly bytes: Buffer; readonly step: number }

const initFolder = fileURLToPath(new URL('../../agent/init/', import.meta.url))

let driverPath = ''
before(async () => {
  const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']
  const reader = ['-I', initFolder, `${initFolder}frame.c`]
  driverPath = await builtProgram('frame-driver', [...sanitizers, ...reader])
})

/** What the reader said of each case. A report of a sanitizer ends it, and throws. */
const drive = async (cases: readonly Case[]): Promise<readonly string[]> => {
  // What it takes it keeps, as hyper-init does: there, one frame is all.
  const env = { ASAN_OPTIONS: 'detect_leaks=0' }
  const driver = spawn(driverPath, { env, stdio: ['pipe', 'pipe', 'pipe'] })
  const ended = new Promise((resolve) => driver.on('close', resolve))
  driver.stdin.on('error', () => undefined) // It ended early, as its status tells.
  for (const { bytes, step } of cases) {
    const head = Buffer.alloc(8)
    head.writeUInt32LE(bytes.length, 0)
    head.writeUInt32LE(step, 4)
    driver.stdin.write(head)
    driver.stdin.write(bytes)
  }
  driver.stdin.end()
  const [said, complaint] = await Promise.all([buffer(driver.stdout), buffer(driver.stderr)])
  assert.deepEqual([await ended, complaint.toString()], [0, ''])
  return said.toString().trimEnd().split('\n')
}

/** The strings of a body, or null where it does not hold exactly so many. */
const stringsOf = (body: Buffer, argc: number, envc: number): Buffer[] | null => {
  if (body.length > 0 && body.at(-1) !== 0) return null
  const strings: Buffer[] = []
  for (let at = 0; at < body.length; ) {
    const end = body.indexOf(0, at)
    strings.push(body.subarray(at, end))
    at = end + 1
  }
  return strings.length === argc + envc ? strings : null
}

/** What the layout at the top of frame.ts says of these bytes, in the driver's words. */
const expected = (bytes: Buffer): string => {
  if (bytes.length < HEAD_BYTES || !bytes.subarray(0, 8).equals(MAGIC)) return 'refused'
  const [bodyBytes = 0, payloadBytes = 0, signal = 0, argc = 0, envc = 0] = NUMBERS_AT.map((at) =>
    bytes.readUInt32LE(at),
  )
  const bodyEnd = HEAD_BYTES + bodyBytes
  const end = bodyEnd + payloadBytes
  const isBounded = bodyBytes <= limits.frameBodyBytesMax && payloadBytes <= limits.payloadBytesMax
  if (!isBounded || argc < 1 || signal < 1 || signal > 64 || end > bytes.length) return 'refused'
  const strings = stringsOf(bytes.subarray(HEAD_BYTES, bodyEnd), argc, envc)
  if (strings === null) return 'refused'
  const environment = strings.slice(argc)
  if (environment.some((entry) => entry.indexOf('=') < 1)) return 'refused'
  const hex = (from: number, to: number) => bytes.subarray(from, to).toString('hex')
  const list = (entries: readonly Buffer[]) => entries.map((entry) => entry.toString('hex')).join()
  return [
    ...['taken', hex(16, 32), hex(32, 48), hex(48, 64), hex(64, 68)],
    ...[bytes.readBigUInt64LE(72), signal, list(strings.slice(0, argc)), list(environment)],
    ...[hex(bodyEnd, end), bytes.length - end],
  ].join(' ')
}

const text = fc
  .string({ unit: anyCharacter, maxLength: 12 })
  .filter((s) => !s.includes('\0') && s.isWellFormed())
const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const entry = fc.tuple(
  text.filter((name) => name !== '' && !name.includes('=')),
  text,
)
const frames: fc.Arbitrary<InitFrame> = fc.record({
  headerNonce: bytesOf(16),
  trailerNonce: bytesOf(16),
  callId: fc.uuid(),
  attempt: fc.nat(0xffffffff),
  timeoutMs: fc.oneof(fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER)),
  stopSignal: fc.integer({ min: 1, max: 64 }),
  argv: fc.array(text, { minLength: 1, maxLength: 4 }),
  environment: fc.array(
    entry.map(([name, value]) => `${name}=${value}`),
    { maxLength: 4 },
  ),
  payload: fc.uint8Array({ maxLength: 64 }),
})
const sound = frames.map((frame) => Buffer.concat(encodeFrame(frame)))

const bounds = [limits.frameBodyBytesMax, limits.payloadBytesMax, 2 ** 31, 2 ** 32].flatMap(
  (bound) => [bound - 1, bound, bound + 1],
)
const number = fc.oneof(fc.nat(70), fc.constantFrom(...bounds.filter((bound) => bound < 2 ** 32)))

/** A place in the frame; half of them in its head. */
const place = (bytes: Buffer) => fc.oneof(fc.nat(HEAD_BYTES - 1), fc.nat(bytes.length - 1))

const changed = (bytes: Buffer, change: (copy: Buffer) => void): Buffer => {
  const copy = Buffer.from(bytes)
  change(copy)
  return copy
}

const damages: readonly ((bytes: Buffer) => fc.Arbitrary<Buffer>)[] = [
  (bytes) => fc.nat(bytes.length).map((length) => bytes.subarray(0, length)),
  (bytes) =>
    fc.array(fc.tuple(place(bytes), fc.nat(7)), { minLength: 1, maxLength: 4 }).map((flips) =>
      changed(bytes, (copy) => {
        for (const [at, bit] of flips) copy.writeUInt8(copy.readUInt8(at) ^ (1 << bit), at)
      }),
    ),
  (bytes) =>
    fc
      .tuple(fc.constantFrom(...NUMBERS_AT), number)
      .map(([at, value]) => changed(bytes, (copy) => copy.writeUInt32LE(value, at))),
  // A number that is off by one or two.
  (bytes) =>
    fc
      .tuple(fc.constantFrom(...NUMBERS_AT), fc.constantFrom(-2, -1, 1, 2))
      .map(([at, by]) =>
        changed(bytes, (copy) => copy.writeUInt32LE((copy.readUInt32LE(at) + by) >>> 0, at)),
      ),
  // Strings that end elsewhere, or lose their `=`.
  (bytes) =>
    fc
      .tuple(fc.nat(bytes.length - HEAD_BYTES - 1), fc.constantFrom(0, 0x3d, 0x41))
      .map(([at, value]) => changed(bytes, (copy) => copy.writeUInt8(value, HEAD_BYTES + at))),
  (bytes) => fc.uint8Array({ maxLength: 40 }).map((more) => Buffer.concat([bytes, more])),
  () => fc.uint8Array({ maxLength: 300 }).map((any) => Buffer.from(any)),
]
const damaged = fc
  .tuple(sound, fc.constantFrom(...damages), fc.option(fc.constantFrom(...damages)))
  .chain(([bytes, first, second]) =>
    first(bytes).chain((once) =>
      second === null || once.length <= HEAD_BYTES ? fc.constant(once) : second(once),
    ),
  )
const steps = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constant(60_000))

/** Compares all that the reader said with what it should say; the seed makes the same cases again. */
const compare = async (make: fc.Arbitrary<Case>): Promise<readonly string[]> => {
  const seed = randomInt(2 ** 31)
  const cases = fc.sample(make, { numRuns: CASES, seed })
  const said = await drive(cases)
  assert.equal(said.length, cases.length)
  for (const [at, { bytes, step }] of cases.entries()) {
    const told = `seed ${seed}, case ${at}, by ${step}: ${bytes.toString('hex')}`
    assert.equal(said[at], expected(bytes), told)
  }
  return said
}

describe('the reader of frames, with sanitizers', () => {
  test('takes every sound frame as it was made', async () => {
    const said = await compare(fc.record({ bytes: sound, step: steps }))
    assert.ok(said.every((line) => line.startsWith('taken')))
  })

  test('refuses what is damaged, and takes the rest as it is', async () => {
    const said = await compare(fc.record({ bytes: damaged, step: steps }))
    const taken = said.filter((line) => line !== 'refused').length
    assert.ok(taken > CASES / 20 && taken < CASES / 2, `${taken} of ${CASES} taken`)
  })

  test('takes the largest there may be, and not one byte more', async () => {
    const [frame] = fc.sample(frames, 1)
    assert.ok(frame !== undefined)
    const value = 'x'.repeat(limits.frameBodyBytesMax - 'a\0B=\0'.length)
    const payload = new Uint8Array(limits.payloadBytesMax).fill(7)
    const largest = Buffer.concat(
      encodeFrame({ ...frame, argv: ['a'], environment: [`B=${value}`], payload }),
    )
    /** One byte more, at `into`, and counted at `at`. */
    const longer = (at: number, into: number) =>
      changed(
        Buffer.concat([largest.subarray(0, into), Buffer.from('x'), largest.subarray(into)]),
        (copy) => copy.writeUInt32LE(copy.readUInt32LE(at) + 1, at),
      )
    const longerBody = longer(8, HEAD_BYTES + 'a\0B='.length)
    const all = [largest, longerBody, longer(12, largest.length), largest.subarray(0, -1)]
    const said = await drive(all.map((bytes) => ({ bytes, step: 60_000 })))
    assert.equal(said[0], expected(largest))
    assert.deepEqual(said.slice(1), ['refused', 'refused', 'refused'])
  })
})
