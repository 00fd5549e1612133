/**
 * Ports of a coordinator that lives in memory: what the gateway is tested against. It has one
 * function `f`, calls that end when a test says so, and remembers what it was asked.
 */

import type { Account, Ports, StoredFunc } from '../../coordinator/ports.ts'
import { HyperError } from '../../protocol/errors.ts'
import { parseFuncCreate } from '../../protocol/func-request.ts'
import type { ImageRecord } from '../../protocol/image.ts'
import { createFakeCalls, createFakeLogs } from './fake-calls.ts'

export const TOKEN = 'token-of-the-operator'
export const PLAIN_TOKEN = 'token-of-alice'
/** Alice's, beside the access key AK2. */
export const SECRET_KEY = 'secret-of-alice'
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

const OPERATOR: Account = {
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

type Pull = Ports['images']['pull']

export const createFakePorts = (options: { stored?: StoredFunc; pull?: Pull } = {}) => {
  const stored = options.stored ?? storedFunc()
  const calls = createFakeCalls(stored)
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
      byAccessKey: (accessKey) =>
        accessKey === ALICE.accessKey ? { account: ALICE, secretKey: SECRET_KEY } : null,
      list: () => [OPERATOR, ALICE],
      create: async (name, quota) => ({ ...credentials, name, quota }),
      setQuota: async (name, quota) => ({ ...ALICE, name, quota }),
      rotate: async (name) => ({ ...credentials, name }),
      remove: async () => {
        throw new HyperError('ACCOUNT_BUSY', 'account alice has functions')
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
      invite: async (order) => {
        note('invite', order)
        return { ticket: 'T', peerId: 'P', expires: created, uses: order.uses }
      },
    },
    backups: {
      open: async () => {
        throw new HyperError('BACKUP_BUSY', 'another backup is being made')
      },
    },
    publicUrl: () => 'https://hyper.example',
    overview: () => ({
      version: '0.1.0',
      peerId: 'P',
      mesh: [],
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
