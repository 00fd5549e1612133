/**
 * An agent without a mesh on the test engine: its premises, and a coordinator played by the test,
 * which hears every message and answers results with an acknowledgement. `close` fails if a
 * container of this agent is left.
 */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { FirewallHost } from '../../agent/firewall.ts'
import { openPremises, type Premises, type PremisesConfig } from '../../agent/premises.ts'
import { type AttemptKey, type AttemptResult, attemptName } from '../../protocol/call.ts'
import type { ImagePin, ImageRecord } from '../../protocol/image.ts'
import type { AgentMessage, Assignment, CoordinatorOrder } from '../../protocol/messages.ts'
import { connectDocker } from './docker.ts'
import { eventually } from './eventually.ts'
import { createOutside } from './outside.ts'

const MiB = 1024 * 1024
const ANSWER_MS = 30_000
const EPOCH = 1

type Order = Omit<CoordinatorOrder, 'session' | 'epoch'> extends infer O ? O : never

export interface AgentBench {
  readonly home: string
  readonly agentId: string
  readonly config: PremisesConfig
  readonly premises: () => Premises
  readonly messages: readonly AgentMessage[]
  /** Opens the premises, and a session unless told otherwise. */
  open(): Promise<void>
  connect(verdicts?: Parameters<Premises['attempts']['connected']>[0]['verdicts']): Promise<void>
  pull(reference: string, auth?: string): Promise<ImageRecord>
  pin(reference: string): Promise<ImagePin>
  assign(part: Partial<Assignment> & { image: ImagePin }): AttemptKey
  /** Answers what it asked for. */
  giveAuth(key: AttemptKey, auth: string): void
  cancel(key: AttemptKey): void
  /** Tells that calls like this one may come. */
  prepare(part: Partial<Assignment> & { image: ImagePin }): void
  acknowledge(key: AttemptKey): void
  drain(draining: boolean): void
  message<T extends AgentMessage['type']>(
    type: T,
    key: AttemptKey,
  ): Promise<Extract<AgentMessage, { type: T }>>
  result(key: AttemptKey): Promise<AttemptResult>
  /** Assigns, waits for the result, acknowledges it, waits until the container is gone. */
  run(part: Partial<Assignment> & { image: ImagePin }): Promise<AttemptResult>
  quiet(): Promise<void>
  /** The host's view of them. */
  readonly outside: ReturnType<typeof createOutside>
  /** Ids of this agent's containers. */
  containers(): Promise<readonly string[]>
  /** Lets go of the premises as a process that ends does. */
  abandon(): Promise<void>
  close(): Promise<void>
}

export const assignmentOf = (part: Partial<Assignment> & { image: ImagePin }): Assignment => ({
  key: { call: randomUUID(), attempt: 1, epoch: EPOCH },
  func: { id: 'f1', name: 'test', revision: 1 },
  ...{ entrypoint: null, cmd: null, environment: [], workingDir: '', user: '' },
  ...{ stopSignal: 'SIGTERM', network: 'none', runtime: '', profile: 'default' },
  ...{ memoryBytes: 64 * MiB, cpus: 1, timeoutMs: 20_000, atMostOnce: false },
  payload: new Uint8Array(0),
  ...part,
})

const required = (name: string): string => {
  const value = process.env[name]
  assert.ok(value !== undefined, `${name} is not set: run this with test/run.ts`)
  return value
}

export const createAgentBench = async (
  options: {
    readonly slots?: number
    /** Containers kept ready; none unless told otherwise. */
    readonly ready?: number | null
    readonly dockerHost?: string
    /** The engine, unless told otherwise. */
    readonly runner?: PremisesConfig['runner']
    /** Where the agent finds the engine's bridge, and sets rules; else on this machine. */
    readonly firewall?: FirewallHost
    /** Of that engine, for what the bench asks of it itself. */
    readonly socketPath?: string
    /** Gets the lines of the agent's log. */
    readonly onLog?: (line: string) => void
  } = {},
): Promise<AgentBench> => {
  const home = await mkdtemp(join(tmpdir(), 'agent-'))
  const agentId = `test-${randomUUID()}`
  const config: PremisesConfig = {
    ...{ home, agentId, slots: options.slots ?? 8, memoryBytes: 2048 * MiB },
    ready: options.ready ?? 0,
    runner: options.runner ?? (process.env.HYPER_TEST_RUNNER === 'oci' ? 'oci' : 'docker'),
    initDir: required('HYPER_TEST_INIT_DIR'),
    dockerHost: options.dockerHost ?? required('HYPER_TEST_DOCKER_HOST'),
  }
  const { docker, close: closeDocker } = connectDocker(
    options.socketPath ?? required('HYPER_TEST_DOCKER_SOCKET'),
  )
  const { onLog } = options
  const log =
    onLog === undefined
      ? pino({ level: process.env.HYPER_LOG_LEVEL ?? 'silent' })
      : pino({ level: 'info' }, { write: onLog })
  const messages: AgentMessage[] = []
  let opened: Premises | null = null
  let session = 0

  const premises = (): Premises => {
    assert.ok(opened !== null, 'the bench is not open')
    return opened
  }
  const order = (part: Order): void =>
    premises().attempts.receive({ ...part, session, epoch: EPOCH } as CoordinatorOrder)

  const find = <T extends AgentMessage['type']>(type: T, key: AttemptKey) =>
    messages.find(
      (message): message is Extract<AgentMessage, { type: T }> =>
        message.type === type && 'key' in message && attemptName(message.key) === attemptName(key),
    )
  const message: AgentBench['message'] = (type, key) =>
    eventually(
      () => find(type, key),
      ANSWER_MS,
      () => `no ${type} came, but ${messages.map((other) => other.type).join(', ')}`,
    )
  const connect: AgentBench['connect'] = (verdicts = []) => {
    session += 1
    return premises().attempts.connected(
      { type: 'welcome', session, epoch: EPOCH, version: 'test', name: 'test', verdicts },
      {
        send: async (sent) => {
          messages.push(sent)
        },
        disconnect: () => undefined,
        pulls: { start: () => undefined, cancel: () => undefined },
      },
    )
  }
  const outside = createOutside(docker, { home, agentId })
  const containers: AgentBench['containers'] = async () =>
    (await outside.list()).map(({ id }) => id)
  const quiet = (): Promise<void> =>
    premises().attempts.until(
      () => premises().attempts.isQuiet() && premises().attempts.unacknowledged() === 0,
      AbortSignal.timeout(ANSWER_MS),
    )
  const assign: AgentBench['assign'] = (part) => {
    const assignment = assignmentOf(part)
    order({ type: 'assign', assignment } as Order)
    return assignment.key
  }
  const pull: AgentBench['pull'] = (reference, auth = '') =>
    premises().images.pull(reference, auth, () => undefined, AbortSignal.timeout(ANSWER_MS))
  const acknowledge = (key: AttemptKey): void => order({ type: 'acknowledge', key } as Order)
  const result: AgentBench['result'] = async (key) => (await message('result', key)).result
  const abandon: AgentBench['abandon'] = async () => {
    await opened?.close()
    opened = null
  }

  return {
    ...{
      home,
      agentId,
      config,
      outside,
      premises,
      messages,
      connect,
      message,
      containers,
      quiet,
      assign,
    },
    ...{ acknowledge, result, abandon },
    async open() {
      opened = await openPremises(config, log, () => undefined, options.firewall)
    },
    ...{ pull, pin: pull },
    giveAuth: (key, auth) => order({ type: 'registry-auth', key, auth } as Order),
    cancel: (key) => order({ type: 'cancel', key } as Order),
    prepare: (part) => order({ type: 'prepare', preparation: assignmentOf(part) } as Order),
    drain: (draining) => order({ type: 'drain', draining } as Order),
    async run(part) {
      const key = assign(part)
      const ended = await result(key)
      acknowledge(key)
      await quiet()
      return ended
    },
    async close() {
      try {
        // Those that stand ready go with the pool.
        if (config.ready !== 0) await abandon()
        await eventually(
          async () => (await containers()).length === 0,
          ANSWER_MS,
          () => 'containers of this agent are left',
        )
      } finally {
        await abandon()
        closeDocker()
        await rm(home, { recursive: true, force: true })
      }
    },
  }
}
