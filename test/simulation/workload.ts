/**
 * The functions of a run and what their processes do. What a process does is told by its input, so
 * that a container knows nothing but what came through its STDIN and environment; what it writes is
 * a function of call, attempt and input, so that every body can be told from every other.
 */

import type { FuncSpec, SizeName } from '../../protocol/func.ts'
import type { ImageRecord } from '../../protocol/image.ts'
import { limits } from '../../protocol/limits.ts'
import type { Digest } from './history.ts'
import type { Random } from './random.ts'

export const PLATFORM = 'linux/amd64'

export const IMAGE: ImageRecord = {
  reference: 'app:1',
  digest: `sha256:${'a'.repeat(64)}`,
  id: 'sha256:app',
  platform: PLATFORM,
  sizeBytes: 1,
  created: '',
  config: {
    ...{ Entrypoint: ['/app'], Cmd: null, Env: null, User: '', WorkingDir: '' },
    Labels: {},
    StopSignal: '',
  },
}

/** One attempt's run. */
export interface Behaviour {
  readonly runMs: number
  readonly end: 'exit' | 'signal' | 'oom' | 'overflow'
  readonly exitCode: number
  readonly outputBytes: number
}

export interface Plan {
  /** Makes every input differ. */
  readonly op: number
  /** By attempt; the last one goes on. */
  readonly runs: readonly Behaviour[]
}

const utf8 = new TextEncoder()
const text = new TextDecoder()

/** An input is its plan, and bytes to make it large. */
export const encodeInput = (plan: Plan, padding: number): Uint8Array => {
  const words = utf8.encode(`${JSON.stringify(plan)}\n`)
  if (padding === 0) return words
  const input = new Uint8Array(words.byteLength + padding)
  input.set(words)
  return input
}

export const planOf = (input: Uint8Array): Plan => {
  const end = input.indexOf(10)
  const plan: Plan = JSON.parse(text.decode(input.subarray(0, end)))
  return plan
}

export const behaviourOf = (plan: Plan, attempt: number): Behaviour => {
  const run = plan.runs[Math.min(attempt, plan.runs.length) - 1]
  if (run === undefined) throw new Error('a plan has a run')
  return run
}

/** What an attempt's process writes to STDOUT. */
export const outputOf = (attemptName: string, input: Digest, bytes: number): Uint8Array => {
  const words = utf8.encode(`${attemptName} ${input}\n`)
  const output = new Uint8Array(Math.max(words.byteLength, bytes))
  output.set(words)
  if (output.byteLength > words.byteLength)
    output.fill(1 + ((words[35] ?? 0) % 7), words.byteLength)
  return output
}

export const errorTextOf = (attemptName: string): string => `stderr of ${attemptName}`

interface FuncKind {
  readonly name: string
  readonly spec: Partial<FuncSpec>
}

/** What is common in users' functions, and what is at the edge. */
export const KINDS: readonly FuncKind[] = [
  { name: 'plain', spec: {} },
  { name: 'once', spec: { AtMostOnce: true } },
  { name: 'again', spec: { RetryOnExit: 2 } },
  { name: 'single', spec: { MaxAttempts: 1 } },
  { name: 'large', spec: { ContainerSize: 's3', MaxAttempts: 2, QueueTimeout: 600 } },
  { name: 'impatient', spec: { QueueTimeout: 60 } },
  { name: 'endless', spec: { Timeout: 0 } },
  { name: 'patient', spec: { Timeout: 30 * 86_400 } },
  { name: 'short', spec: { Timeout: 5 } },
  { name: 'picky', spec: { Constraints: { name: 'agent-1' }, QueueTimeout: 300 } },
  { name: 'hopeless', spec: { Constraints: { disk: 'none' }, QueueTimeout: 120 } },
]

const SIZE: SizeName = 's1'

export const specOf = (name: string, kind: FuncKind): FuncSpec => ({
  Name: name,
  ContainerSize: SIZE,
  Timeout: 300,
  Config: {
    ...{ Image: IMAGE.reference, Cmd: null, Entrypoint: null, Env: [], WorkingDir: '', User: '' },
    ...{ Labels: {}, ExposedPorts: {}, StopSignal: '' },
  },
  HostConfig: { NetworkMode: 'bridge' },
  NetworkingConfig: { EndpointsConfig: null },
  MaxAttempts: limits.maxAttemptsDefault,
  AtMostOnce: false,
  RetryOnExit: 0,
  QueueTimeout: 3600,
  Runtime: '',
  Profile: 'default',
  Constraints: {},
  ...kind.spec,
})

const createBehaviour = (random: Random, outputBytes: number, isFaulty: boolean): Behaviour => {
  const runMs = random.chance(0.1) ? random.between(30_000, 120_000) : random.waitMs(2_500)
  const plain = { runMs, exitCode: 0, outputBytes }
  if (!isFaulty || random.chance(0.75)) return { ...plain, end: 'exit' }
  const dice = random.below(8)
  if (dice < 5) return { ...plain, end: 'exit', exitCode: random.between(1, 3) }
  if (dice === 5) return { ...plain, end: 'signal' }
  return { ...plain, end: dice === 6 ? 'oom' : 'overflow' }
}

export const createPlan = (random: Random, op: number, isLarge: boolean): Plan => {
  const runs = 1 + random.below(3)
  const outputBytes = isLarge
    ? random.between(700_000, limits.stdoutBytesMax)
    : random.chance(0.1)
      ? random.between(1_000, 8_000)
      : random.below(400)
  return {
    op,
    runs: Array.from({ length: runs }, () => createBehaviour(random, outputBytes, !isLarge)),
  }
}
