import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { checkHello } from '../../coordinator/hello.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import {
  decodeAgentMessage,
  decodeCoordinatorMessage,
  encodeMessage,
  PROTOCOL_VERSION,
  PROTOCOL_VERSION_OLDEST,
  type Welcome,
} from '../../protocol/messages.ts'
import { inVersion } from '../../protocol/versions.ts'
import { makeHello } from '../support/ledger-words.ts'

/** What a version wrote, and the bytes in which it did. */
interface Recorded {
  readonly message: unknown
  readonly frame: string
}

const former = new URL(`../fixtures/protocol-${PROTOCOL_VERSION_OLDEST}/`, import.meta.url)

/** In the fixtures bytes are `{base64}`. */
const revive = (_key: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'base64' in value
    ? new Uint8Array(Buffer.from(String(value.base64), 'base64'))
    : value

const recorded = (name: string): readonly Recorded[] =>
  JSON.parse(readFileSync(new URL(name, former), 'utf8'), revive) as Recorded[]

const EVERY_TYPE = {
  'of-agent.json': [
    ...['draining', 'gone', 'heartbeat', 'hello', 'leave', 'pull-end', 'pull-progress'],
    ...['refused', 'result', 'started'],
  ],
  'of-coordinator.json': [
    ...['acknowledge', 'assign', 'cancel', 'cancel-pull', 'drain', 'goodbye', 'prepare', 'pull'],
    ...['renewed', 'welcome'],
  ],
} as const

test('every recorded message of the version before still says what it said', () => {
  const decoders = {
    'of-agent.json': decodeAgentMessage,
    'of-coordinator.json': decodeCoordinatorMessage,
  } as const
  for (const name of ['of-agent.json', 'of-coordinator.json'] as const) {
    const types = new Set<string>()
    for (const { message, frame } of recorded(name)) {
      const decoded = decoders[name](new Uint8Array(Buffer.from(frame, 'base64')))
      assert.deepEqual(decoded, message)
      types.add(decoded.type)
    }
    assert.deepEqual([...types].sort(), EVERY_TYPE[name], 'each type was recorded')
  }
})

test('what is said to an agent of the version before has the bytes that its own version wrote', () => {
  for (const { message, frame } of recorded('of-coordinator.json')) {
    const said = decodeCoordinatorMessage(new Uint8Array(Buffer.from(frame, 'base64')))
    const ours = said.type === 'welcome' ? { ...said, addresses: ['/ip4/10.0.0.1/tcp/1'] } : said
    const told = encodeMessage(inVersion(ours, PROTOCOL_VERSION_OLDEST))
    assert.equal(Buffer.from(told).toString('base64'), frame, JSON.stringify(message))
    assert.deepEqual(inVersion(ours, PROTOCOL_VERSION), ours)
  }
})

test('a goodbye whose code the version before does not know has one that means the same to it', () => {
  const told = (code: ErrorCode, protocol: number) =>
    inVersion({ type: 'goodbye', code, message: 'why' }, protocol)
  for (const [code, instead] of [
    ['KEY_IN_USE', 'NOT_A_MEMBER'],
    ['EPOCH_AHEAD', 'EPOCH_AHEAD'],
  ] as const) {
    assert.deepEqual(told(code, 2), { type: 'goodbye', code: instead, message: 'why' })
    assert.partialDeepStrictEqual(told(code, 3), { code })
  }
})

const welcome: Welcome = {
  ...{ type: 'welcome', session: 1, epoch: 1, version: '1', name: 'a', verdicts: [] },
}

test('addresses in a welcome are bounded in number and length', () => {
  const decode = (addresses: readonly string[]) =>
    decodeCoordinatorMessage(encodeMessage({ ...welcome, addresses: [...addresses] }))
  const some = ['/ip4/10.0.0.1/tcp/7481', '/dns4/coordinator.example/tcp/7481']
  assert.deepEqual(decode(some), { ...welcome, addresses: some })
  assert.throws(() => decode(Array(33).fill('/ip4/10.0.0.1/tcp/1')), { code: 'BAD_PARAMETER' })
  assert.throws(() => decode(['x'.repeat(321)]), { code: 'BAD_PARAMETER' })
})

test('agents of this version and of the one before are served, others are refused by name', () => {
  const check = (protocol: number) => (): void =>
    checkHello(makeHello({ protocol, version: '9.9.9' }), '1.2.3', 1)
  assert.doesNotThrow(check(PROTOCOL_VERSION))
  assert.doesNotThrow(check(PROTOCOL_VERSION - 1))
  assert.throws(check(PROTOCOL_VERSION - 2), {
    code: 'VERSION_MISMATCH',
    message:
      'the agent speaks version 1 of the protocol (hyper 9.9.9), this coordinator 2 to 3 (hyper 1.2.3): upgrade the agent',
  })
  assert.throws(check(PROTOCOL_VERSION + 1), {
    code: 'VERSION_MISMATCH',
    message:
      'the agent speaks version 4 of the protocol (hyper 9.9.9), this coordinator up to 3 (hyper 1.2.3): upgrade the coordinator first',
  })
})
