/** Terms, hellos and results as tests of the ledger need them, and a random that repeats itself. */

import type { Terms } from '../../coordinator/ledger/state.ts'
import type { AttemptKey, AttemptResult } from '../../protocol/call.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { type Hello, PROTOCOL_VERSION } from '../../protocol/messages.ts'

export const MiB = 1024 * 1024

export const makeTerms = (over: Partial<Terms> = {}): Terms => ({
  accountId: 'a1',
  funcId: 'f1',
  revision: 1,
  memoryBytes: 64 * MiB,
  maxAttempts: 3,
  atMostOnce: false,
  retryOnExit: 0,
  queueTimeoutMs: 86_400_000,
  timeoutMs: 300_000,
  image: { reference: 'app:1', digest: `sha256:${'a'.repeat(64)}`, id: 'i1' },
  isAnywhere: true,
  readyKey: 'k',
  platforms: ['linux/amd64'],
  runtime: '',
  constraints: {},
  ...over,
})

export const makeHello = (over: Partial<Hello> = {}): Hello => ({
  type: 'hello',
  protocol: PROTOCOL_VERSION,
  version: '0.1.0',
  storeId: 's1',
  ...{ start: 1, greeting: 1 },
  epochSeen: 0,
  host: 'host',
  slots: 4,
  memoryBytes: 4096 * MiB,
  platform: 'linux/amd64',
  runtimes: ['runc'],
  labels: {},
  draining: false,
  attempts: [],
  outbox: [],
  ...over,
})

/** What an attempt's process wrote: no two attempts write the same. */
export const outputOf = ({ call, attempt, epoch }: AttemptKey): Uint8Array =>
  new TextEncoder().encode(`${call} ${attempt} ${epoch}`)

export const makeResult = (
  key: AttemptKey,
  code: ErrorCode = 'FINISHED',
  over: Partial<AttemptResult> = {},
): AttemptResult => ({
  code,
  started: true,
  exitCode: code === 'FINISHED' ? 0 : code === 'CALL_EXITED' ? 1 : null,
  message: code === 'FINISHED' ? '' : `because ${code}`,
  stdout: code === 'FINISHED' ? outputOf(key) : new Uint8Array(0),
  stderr: new Uint8Array(0),
  startMs: 1,
  runMs: 1,
  ...over,
})

export interface Random {
  /** From 0 up to, not with, the bound. */
  below(bound: number): number
  /** True once in so many times. */
  once(inTimes: number): boolean
  pick<T>(items: readonly T[]): T | undefined
}

/** Mulberry32: the same seed gives the same run on every machine. */
export const createRandom = (seed: number): Random => {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (bound: number): number => Math.floor(next() * bound)
  return {
    below,
    once: (inTimes) => below(inTimes) === 0,
    pick: (items) => items[below(items.length)],
  }
}
