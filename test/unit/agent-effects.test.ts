/** What the agent's acts do where disk and engine fail them for a while. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { createActs } from '../../agent/acts.ts'
import { machineClock } from '../../agent/clock.ts'
import type { Seen } from '../../agent/container.ts'
import { createEffects } from '../../agent/effects.ts'
import { encodeHeader } from '../../agent/init/marks.ts'
import { createLull } from '../../agent/lull.ts'
import type { Note, Outbox } from '../../agent/outbox.ts'
import { adopt, type RecoveryDeps } from '../../agent/recovery.ts'
import type { ContainerState, Runner } from '../../agent/runner/runner.ts'
import type { AttemptResult } from '../../protocol/call.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { AgentMessage } from '../../protocol/messages.ts'
import { eventually } from '../support/eventually.ts'
import { makeResult } from '../support/ledger-words.ts'

const key = { call: '11111111-1111-4111-8111-111111111111', attempt: 1, epoch: 1 }
const log = pino({ level: 'silent' })

const unused = (): never => assert.fail('not asked for here')
const runner: Runner = {
  ...{ start: unused, state: unused, waitForEnd: unused, readLog: unused },
  ...{ remove: unused, list: unused, writtenBytes: unused },
}
const recovery: RecoveryDeps = {
  ...{ runner, log },
  engine: { facts: () => null, isUp: () => true, onChange: () => () => undefined },
  nonces: () => ({ headerNonce: new Uint8Array(16), trailerNonce: new Uint8Array(16) }),
}

/** Reports one stored result over a session; what was said. */
const reportWith = async (t: TestContext, getResult: Outbox['getResult']) => {
  const acts = createActs()
  t.after(() => acts.close())
  const outbox: Outbox = {
    ...{
      storeId: 's',
      start: 1,
      epoch: () => 1,
      readKept: unused,
      putNote: unused,
      putResult: unused,
    },
    ...{ delete: unused, raiseEpoch: unused, close: unused, getResult },
  }
  const effects = createEffects(
    {
      ...recovery,
      outbox,
      lull: createLull(machineClock),
      supply: { take: unused, prepare: unused },
    },
    acts,
    unused,
  )
  const said: AgentMessage[] = []
  effects.setSession({
    send: async (message) => void said.push(message),
    disconnect: unused,
    pulls: { start: unused, cancel: unused },
  })
  effects.perform({ type: 'report', key, session: 1 })
  await eventually(() => said.length === 1)
  const [message] = said
  assert.ok(message?.type === 'result')
  return message.result
}

test('a stored result that cannot be read for a moment is told once it can be', async (t) => {
  let reads = 0
  const result = await reportWith(t, async () => {
    reads += 1
    if (reads < 3) throw new Error('Database is not open')
    return makeResult(key)
  })
  assert.deepEqual([result.code, reads], ['FINISHED', 3])
})

test('a stored result that has rotted is a lost attempt', async (t) => {
  const result = await reportWith(t, () =>
    Promise.reject(new HyperError('STATE_DAMAGED', 'the checksum is wrong')),
  )
  assert.deepEqual([result.code, result.started], ['AGENT_LOST', true])
})

test('an ended container whose log the engine never gives is given up in the end', async (t) => {
  const note: Note = {
    ...{ key, container: 'c1', memoryBytes: 1, timeoutMs: 0 },
    ...{ command: 'true', imagePlatform: 'linux/amd64' },
  }
  let aheadMs = 0
  const now = performance.now.bind(performance)
  t.mock.method(performance, 'now', () => now() + aheadMs)
  let reads = 0
  const failing: Runner = {
    ...runner,
    waitForEnd: async () => undefined,
    state: async () => ({ isRunning: false, exitCode: 0, oomKilled: false }),
    readLog: async () => {
      reads += 1
      if (reads === 2) aheadMs = limits.readBackMs
      throw new Error('configured logging driver does not support reading')
    },
  }
  const never = new AbortController().signal
  const ends = { stop: never, closing: never }
  const result: AttemptResult | null = await adopt({ ...recovery, runner: failing }, note, ends)
  assert.deepEqual([result?.code, result?.started, reads], ['AGENT_LOST', true, 2])
})

test('one that was left and fills the disk ends as that, one that is left again as lost', async () => {
  const note: Note = {
    ...{ key, container: 'c1', memoryBytes: 1, timeoutMs: 0 },
    ...{ command: 'true', imagePlatform: 'linux/amd64' },
  }
  for (const [reason, code] of [
    ['disk', 'CALL_DISK_FULL'],
    ['leaving', 'AGENT_LOST'],
  ] as const) {
    const stop = new AbortController()
    const waiting: Runner = {
      ...runner,
      waitForEnd: async (_id, signal) => {
        stop.abort(reason)
        signal.throwIfAborted()
      },
    }
    const ends = { stop: stop.signal, closing: new AbortController().signal }
    const result = await adopt({ ...recovery, runner: waiting }, note, ends)
    assert.deepEqual([result?.code, result?.started], [code, true])
  }
})

/** What hyper-init writes of this body, to a process that exited with 0. */
const streamOf = (body: string): Uint8Array => {
  const nonce = Buffer.alloc(16)
  const header = encodeHeader(nonce, key.call, key.attempt)
  return Buffer.concat([header, Buffer.from(body), nonce, Uint8Array.of(1, 0, 0, 0)])
}

test('what was seen before a cut must be in the log, and its last line whole', async () => {
  const note: Note = {
    ...{ key, container: 'c1', memoryBytes: 1, timeoutMs: 0 },
    ...{ command: 'true', imagePlatform: 'linux/amd64' },
  }
  const seen = (body: string): Seen => ({
    body: Buffer.from(body),
    isMidLine: body !== '' && !body.endsWith('\n'),
  })
  const ends = { stop: new AbortController().signal, closing: new AbortController().signal }
  const after = async (before: string, logged: Uint8Array) => {
    const keeping: Runner = {
      ...runner,
      waitForEnd: async () => undefined,
      state: async () => ({ isRunning: false, exitCode: 137, oomKilled: true }),
      readLog: async (_id, sinks) => {
        sinks.onStdout(logged)
        sinks.onStderr(streamOf(''))
      },
    }
    const cut = { ending: 'cut', stdout: seen(before), stderr: seen('') } as const
    return (await adopt({ ...recovery, runner: keeping }, note, ends, cut))?.code
  }
  assert.equal(await after('', streamOf('a\nb')), 'FINISHED')
  assert.equal(await after('a\n', streamOf('a\nb')), 'FINISHED')
  assert.equal(await after('a\nb\n', streamOf('a\n')), 'AGENT_LOST')
  // The second half of it looks like the first one, which the engine took along.
  assert.equal(await after('..', streamOf('..')), 'AGENT_LOST')
  // Where nothing claims to be whole, how it ended is told, as ever.
  assert.equal(await after('..', Buffer.from('..')), 'CALL_OUT_OF_MEMORY')
})

test('a cancelled attempt gives up its container, and the result of one that had ended', async () => {
  const note: Note = {
    ...{ key, container: 'c1', memoryBytes: 1, timeoutMs: 0 },
    ...{ command: 'true', imagePlatform: 'linux/amd64' },
  }
  const cancelled = async (container: ContainerState | null): Promise<AttemptResult | null> => {
    const stop = new AbortController()
    const waiting: Runner = {
      ...runner,
      // The cancel comes while the end of the container is waited for.
      waitForEnd: async (_id, signal) => {
        stop.abort('cancel')
        signal.throwIfAborted()
      },
      state: async () => container,
      readLog: async () => undefined,
    }
    const closing = new AbortController().signal
    return adopt({ ...recovery, runner: waiting }, note, { stop: stop.signal, closing })
  }
  const memory = await cancelled({ isRunning: false, exitCode: 137, oomKilled: true })
  assert.equal(memory?.code, 'CALL_OUT_OF_MEMORY')
  assert.equal(await cancelled({ isRunning: true, exitCode: 0, oomKilled: false }), null)
  assert.equal(await cancelled({ isRunning: false, exitCode: 137, oomKilled: false }), null)
  assert.equal(await cancelled(null), null)
})
