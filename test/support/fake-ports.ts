/**
 * Ports of a coordinator that lives in memory: what the gateway is tested against. It has one
 * function `f`, calls that end when a test says so, and remembers what it was asked.
 */

import { randomUUID } from 'node:crypto'
import type {
  Account,
  CallRequest,
  CallView,
  FinalAnswer,
  LogQuery,
  Ports,
  StoredFunc,
} from '../../coordinator/ports.ts'
import { finalStateOf } from '../../protocol/call.ts'
import { ERRORS, type ErrorCode, HyperError } from '../../protocol/errors.ts'
import { parseFuncCreate } from '../../protocol/func.ts'
import type { ImageRecord } from '../../protocol/image.ts'
import type { LogLine } from '../../protocol/log-line.ts'

export const TOKEN = 'token-of-the-operator'
export const PLAIN_TOKEN = 'token-of-alice'
export const UUID = '5b2ac1b5-2a5e-4c5f-9d9d-0d6b3f1d2a77'

const created = '2017-03-16T07:05:24.473Z'

export const IMAGE: ImageRecord = {
  reference: 'registry.example:5000/team/app:1',
  digest: `sha256:${'a'.repeat(64)}`,
  id: `sha256:${'b'.repeat(64)}`,
  platform: 'linux/arm64/v8',
  sizeBytes: 4711,
  created,
  config: {
    Entrypoint: null,
    Cmd: ['sh'],
    Env: ['PATH=/bin'],
    User: '',
    WorkingDir: '',
    Labels: {},
    StopSignal: '',
  },
}

export const OPERATOR: Account = {
  id: 'a1',
  name: 'default',
  quota: 10,
  operator: true,
  accessKey: 'AK1',
  created,
}
const ALICE: Account = { ...OPERATOR, id: 'a2', name: 'alice', operator: false, accessKey: 'AK2' }

export const storedFunc = (spec: object = {}): StoredFunc => ({
  id: 'f1',
  accountId: 'a1',
  func: {
    ...parseFuncCreate({
      Name: 'f',
      Config: { Image: IMAGE.reference, Env: ['MODE=own'] },
      ...spec,
    }),
    UUID,
    Created: created,
    Revision: 1,
  },
  image: IMAGE,
})

export const logLine = (seq: number, text = ''): LogLine => ({
  Seq: seq,
  Time: created,
  Event: 'CALL',
  CallId: randomUUID(),
  ShortStdin: text,
  ShortStdout: '',
  ShortStderr: '',
  Message: '',
})

export const finalAnswer = (
  callId: string,
  code: ErrorCode,
  body: string | Uint8Array = '',
  exitCode: number | null = null,
): FinalAnswer => ({
  callId,
  attempt: 1,
  outcome: { state: finalStateOf(code), code, exitCode, message: '' },
  httpStatus: ERRORS[code].http,
  body: Buffer.from(body),
})

interface FakeCall {
  view: CallView
  answer: FinalAnswer | null
  readonly ended: PromiseWithResolvers<FinalAnswer>
}

/** Calls, and what the gateway said of their deliveries. */
const createFakeCalls = () => {
  const calls = new Map<string, FakeCall>()
  const requests: CallRequest[] = []
  const deliveries: string[] = []
  const waited: string[] = []
  const found: string[] = []
  const add = (state: CallView['state'], position = 0): string => {
    const id = randomUUID()
    const view = { id, funcId: 'f1', state, created, position, message: null }
    calls.set(id, { view, answer: null, ended: Promise.withResolvers() })
    return id
  }
  const end = (answer: FinalAnswer): void => {
    const call = calls.get(answer.callId)
    if (call === undefined) throw new Error('no such call')
    call.view = { ...call.view, state: answer.outcome.state }
    call.answer = answer
    call.ended.resolve(answer)
  }
  const accept = (request: CallRequest): string => {
    requests.push(request)
    return add('pending')
  }
  const port: Ports['calls'] = {
    accept: async (request) => accept(request),
    acceptSync: (request) => {
      const callId = accept(request)
      const answer = calls.get(callId)?.ended.promise
      if (answer === undefined) throw new Error('no such call')
      return { callId, answer }
    },
    find: async (_funcId, callId) => {
      found.push(callId)
      return calls.get(callId)?.view ?? null
    },
    funcOf: async (_account, callId) => (calls.has(callId) ? storedFunc() : null),
    answer: async (_funcId, callId) => calls.get(callId)?.answer ?? null,
    waitForAnswer: (_funcId, callId, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        calls.get(callId)?.ended.promise.then((answer) => {
          waited.push(callId)
          resolve(answer)
        }, reject)
      }),
    delivered: (callId) => void deliveries.push(`delivered ${callId}`),
    undelivered: (callId) => void deliveries.push(`undelivered ${callId}`),
    cancel: async (_funcId, callId) => {
      const call = calls.get(callId)
      if (call === undefined) throw new HyperError('CALL_NOT_FOUND', 'no such call')
      if (call.answer !== null) throw new HyperError('CALL_FINAL', 'the call has ended')
      end(finalAnswer(callId, 'CALL_CANCELLED', 'cancelled'))
    },
    counts: () => ({ pending: 1, running: 2, finished: 3, failed: 4 }),
    list: async (_funcId, limit) =>
      [...calls.keys()].slice(0, limit).map((callId) => ({
        callId,
        created,
        status: 'FINISHED',
        message: null,
      })),
  }
  return { port, add, end, requests, deliveries, waited, found }
}

/** One log: what is in it, and a way to add a line that followers get. */
const createFakeLogs = () => {
  const lines: LogLine[] = []
  const queries: LogQuery[] = []
  let followers = 0
  let changed = Promise.withResolvers<void>()
  const port: Ports['logs'] = {
    read: async function* (_funcId, query) {
      queries.push(query)
      const found = lines.filter((line) => line.Seq > query.since)
      yield* query.tail === null ? found : found.slice(-query.tail)
    },
    follow: async function* (_funcId, query, signal) {
      queries.push(query)
      const aborted = new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
      followers += 1
      try {
        for (let i = 0; !signal.aborted; ) {
          const line = lines[i]
          if (line !== undefined) {
            i += 1
            yield line
          } else await Promise.race([changed.promise, aborted])
        }
      } finally {
        followers -= 1
      }
    },
  }
  const add = (line: LogLine): void => {
    lines.push(line)
    changed.resolve()
    changed = Promise.withResolvers()
  }
  return { port, add, queries, followers: () => followers }
}

type Pull = Ports['images']['pull']

export const createFakePorts = (options: { stored?: StoredFunc; pull?: Pull } = {}) => {
  const stored = options.stored ?? storedFunc()
  const calls = createFakeCalls()
  const logs = createFakeLogs()
  const asked: unknown[][] = []
  const note = (...words: unknown[]): void => void asked.push(words)
  const credentials = {
    name: 'bob',
    token: 't',
    accessKey: 'AK3',
    secretKey: 's',
    quota: 10,
  }
  let notReady: readonly string[] = []
  const ports: Ports = {
    accounts: {
      byToken: (token) => (token === TOKEN ? OPERATOR : token === PLAIN_TOKEN ? ALICE : null),
      list: () => [OPERATOR, ALICE],
      create: async (name, quota) => ({ ...credentials, name, quota }),
      setQuota: async (name, quota) => ({ ...ALICE, name, quota }),
      rotate: async (name) => ({ ...credentials, name }),
      remove: async () => {
        throw new HyperError('FUNC_BUSY', 'account alice has functions')
      },
    },
    funcs: {
      create: async (account, spec) => {
        note('create', account.name, spec.Name)
        if (spec.Name === 'f') throw new HyperError('NAME_TAKEN', 'f is taken')
        if (spec.Name === 'broken') throw new Error('secret detail')
        return { ...stored, func: { ...stored.func, ...spec } }
      },
      update: async (_account, name, update) => {
        note('update', name, update)
        return stored
      },
      list: () => [stored],
      get: (_account, name) => (name === 'f' || name === 'create' ? stored : null),
      byUrl: (name, uuid) => (name === 'f' && uuid === UUID ? stored : null),
      byId: () => stored,
      remove: async (_account, name, force) => note('remove', name, force),
    },
    images: {
      list: () => [IMAGE],
      get: (_account, reference) => (reference === IMAGE.reference ? IMAGE : null),
      pull:
        options.pull ??
        (async (_account, reference, auth) => {
          note('pull', reference, auth)
          return IMAGE
        }),
    },
    calls: calls.port,
    logs: logs.port,
    agents: {
      list: () => [],
      drain: async (agent, draining) => note('drain', agent, draining),
      remove: async (agent) => note('leave', agent),
      invite: async (uses, expiresMs) => {
        note('invite', uses, expiresMs)
        return { ticket: 'T', peerId: 'P', expires: created, uses }
      },
    },
    overview: () => ({
      version: '0.1.0',
      peerId: 'P',
      mesh: [],
      publicUrl: 'https://hyper.example',
      notReady,
      usage: () => ({ running: 1, waiting: 2 }),
    }),
  }
  return {
    ports,
    calls,
    logs,
    asked,
    setNotReady: (reasons: readonly string[]): void => {
      notReady = reasons
    },
  }
}
