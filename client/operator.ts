/** What an operator asks of the coordinator: agents, invitations, accounts, its own state. */

import type { Static } from 'typebox'
import type { Management } from './management.ts'
import { createReader } from './shape.ts'

const count = { type: 'integer', minimum: 0 } as const
const text = { type: 'string' } as const

const overviewShape = {
  type: 'object',
  required: ['Hyper'],
  properties: {
    Hyper: {
      type: 'object',
      required: ['version', 'account', 'quota', 'running', 'waiting', 'operator', 'peerId', 'mesh'],
      properties: {
        version: text,
        account: text,
        quota: count,
        running: count,
        waiting: count,
        operator: { type: 'boolean' },
        peerId: text,
        mesh: { type: 'array', items: text },
        publicUrl: text,
        agents: {
          type: 'object',
          required: ['connected', 'slots', 'free'],
          properties: { connected: count, slots: count, free: count },
        },
      },
    },
  },
} as const
export type Overview = Static<typeof overviewShape>

const versionShape = {
  type: 'object',
  required: ['Version', 'ApiVersion'],
  properties: { Version: text, ApiVersion: text, Os: text, Arch: text },
} as const
export type ServerVersion = Static<typeof versionShape>

const agentShape = {
  type: 'object',
  required: [
    'agent',
    'peerId',
    'state',
    'reason',
    'slots',
    'free',
    'running',
    'ready',
    'memoryBytes',
  ],
  properties: {
    agent: text,
    peerId: text,
    state: text,
    reason: text,
    connected: { type: 'boolean' },
    member: { type: 'boolean' },
    slots: count,
    free: count,
    running: count,
    ready: count,
    memoryBytes: count,
    memoryFreeBytes: count,
    images: count,
    version: text,
    platform: text,
    runner: {
      type: ['object', 'null'],
      required: ['name', 'reason'],
      properties: { name: text, reason: text },
    },
    labels: { type: 'object', additionalProperties: text },
    seen: { type: ['string', 'null'] },
  },
} as const
export type ListedAgent = Static<typeof agentShape>

const inviteShape = {
  type: 'object',
  required: ['ticket', 'peerId', 'expires', 'uses'],
  properties: { ticket: text, peerId: text, expires: text, uses: count },
} as const
export type Invite = Static<typeof inviteShape>

const accountShape = {
  type: 'object',
  required: ['name', 'quota'],
  properties: {
    name: text,
    quota: count,
    operator: { type: 'boolean' },
    running: count,
    waiting: count,
    created: text,
    accessKey: text,
  },
} as const
export type ListedAccount = Static<typeof accountShape>

const credentialsShape = {
  type: 'object',
  required: ['name', 'token', 'accessKey', 'secretKey', 'quota'],
  properties: { name: text, token: text, accessKey: text, secretKey: text, quota: count },
} as const
export type AccountCredentials = Static<typeof credentialsShape>

const readOverview = createReader(overviewShape, 'answer to /info')
const readVersion = createReader(versionShape, 'answer to /version')
const readAgents = createReader({ type: 'array', items: agentShape }, 'list of agents')
const readInvite = createReader(inviteShape, 'invitation')
const readAccounts = createReader({ type: 'array', items: accountShape }, 'list of accounts')
const readAccount = createReader(accountShape, 'account')
const readCredentials = createReader(credentialsShape, 'account with its credentials')

interface InviteOrder {
  readonly uses: number
  readonly expiresMs: number
  /** Of the hosts that join with it; they stand over what a host says of itself. */
  readonly labels?: Readonly<Record<string, string>>
  /** Without addresses: for hosts on the coordinator's LAN. */
  readonly lan?: boolean
}

export interface Operator {
  readonly overview: () => Promise<Overview>
  readonly version: () => Promise<ServerVersion>
  readonly agents: {
    readonly list: () => Promise<readonly ListedAgent[]>
    readonly drain: (agent: string) => Promise<void>
    readonly undrain: (agent: string) => Promise<void>
    readonly remove: (agent: string) => Promise<void>
  }
  readonly invite: (order: InviteOrder) => Promise<Invite>
  readonly accounts: {
    readonly list: () => Promise<readonly ListedAccount[]>
    readonly create: (name: string, quota?: number) => Promise<AccountCredentials>
    readonly setQuota: (name: string, quota: number) => Promise<ListedAccount>
    readonly rotate: (name: string) => Promise<AccountCredentials>
    readonly remove: (name: string) => Promise<void>
  }
}

export const createOperator = (management: Management): Operator => {
  const { ask, tell } = management
  const path = (...parts: readonly string[]): string =>
    `/${parts.map((part) => encodeURIComponent(part)).join('/')}`
  return {
    overview: async () => readOverview(await ask({ method: 'GET', path: '/info' })),
    version: async () => readVersion(await ask({ method: 'GET', path: '/version' })),
    agents: {
      list: async () => readAgents(await ask({ method: 'GET', path: '/agents' })),
      drain: (agent) => tell({ method: 'POST', path: path('agents', agent, 'drain') }),
      undrain: (agent) => tell({ method: 'POST', path: path('agents', agent, 'undrain') }),
      remove: (agent) => tell({ method: 'DELETE', path: path('agents', agent) }),
    },
    invite: async (json) => readInvite(await ask({ method: 'POST', path: '/invites', json })),
    accounts: {
      list: async () => readAccounts(await ask({ method: 'GET', path: '/accounts' })),
      create: async (name, quota) => {
        const json = quota === undefined ? { name } : { name, quota }
        return readCredentials(await ask({ method: 'POST', path: '/accounts', json }))
      },
      setQuota: async (name, quota) =>
        readAccount(await ask({ method: 'PUT', path: path('accounts', name), json: { quota } })),
      rotate: async (name) =>
        readCredentials(await ask({ method: 'POST', path: path('accounts', name, 'rotate') })),
      remove: (name) => tell({ method: 'DELETE', path: path('accounts', name) }),
    },
  }
}
