/** Functions over the wire: create, list, look at, update, remove. Names are the wire's. */

import type { Static } from 'typebox'
import type { Management } from './management.ts'
import { createReader } from './shape.ts'

const words = { anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'null' }] } as const
const labels = { type: 'object', additionalProperties: { type: 'string' } } as const

const funcShape = {
  type: 'object',
  required: ['Name', 'UUID', 'ContainerSize', 'Timeout', 'Created', 'Config'],
  properties: {
    Name: { type: 'string' },
    UUID: { type: 'string' },
    ContainerSize: { type: 'string' },
    Timeout: { type: 'integer' },
    Created: { type: 'string' },
    Config: {
      type: 'object',
      required: ['Image'],
      properties: {
        Image: { type: 'string' },
        Cmd: words,
        Entrypoint: words,
        Env: words,
        WorkingDir: { type: 'string' },
        User: { type: 'string' },
        Labels: labels,
      },
    },
    Revision: { type: 'integer' },
  },
} as const

/** A function as the coordinator has it; fields beyond these are there, too. */
export type StoredFunc = Static<typeof funcShape>

const readFunc = createReader(funcShape, 'function')
const readFuncs = createReader({ type: 'array', items: funcShape }, 'list of functions')

/** What POST /funcs/create takes; what is absent has the coordinator's default. */
export interface FuncDefinition {
  readonly Name: string
  readonly ContainerSize?: string
  readonly Timeout?: number
  readonly Config: {
    readonly Image: string
    readonly Cmd?: readonly string[]
    readonly Entrypoint?: readonly string[]
    readonly Env?: readonly string[]
    readonly WorkingDir?: string
    readonly User?: string
    readonly Labels?: Readonly<Record<string, string>>
    readonly StopSignal?: string
  }
  readonly HostConfig?: { readonly NetworkMode?: string }
  readonly MaxAttempts?: number
  readonly AtMostOnce?: boolean
  readonly RetryOnExit?: number
  readonly QueueTimeout?: number
  readonly Runtime?: string
  readonly Profile?: string
  readonly Constraints?: Readonly<Record<string, string>>
}

/** An absent field stays as it is; an empty `Env` clears it. */
export interface FuncPatch {
  readonly ContainerSize?: string
  readonly Timeout?: number
  readonly Refresh?: boolean
  readonly Config?: { readonly Env: readonly string[] }
}

export interface Funcs {
  /** An image that is not known yet is pulled first: this waits for it. */
  readonly create: (definition: FuncDefinition) => Promise<StoredFunc>
  readonly list: (filters?: Readonly<Record<string, readonly string[]>>) => Promise<StoredFunc[]>
  readonly get: (name: string) => Promise<StoredFunc>
  /** The function that a call belongs to. */
  readonly ofCall: (callId: string) => Promise<StoredFunc>
  readonly update: (name: string, patch: FuncPatch) => Promise<StoredFunc>
  /** `force` cancels its calls; without it a function with calls stays. */
  readonly remove: (name: string, options?: { readonly force?: boolean }) => Promise<void>
}

export const createFuncs = (management: Management): Funcs => {
  const pathOf = (name: string): string => `/funcs/${encodeURIComponent(name)}`
  return {
    create: async (json) =>
      readFunc(await management.ask({ method: 'POST', path: '/funcs/create', json, isLong: true })),
    list: async (filters) => {
      const query =
        filters === undefined ? '' : `?filters=${encodeURIComponent(JSON.stringify(filters))}`
      return readFuncs(await management.ask({ method: 'GET', path: `/funcs${query}` }))
    },
    get: async (name) => readFunc(await management.ask({ method: 'GET', path: pathOf(name) })),
    ofCall: async (callId) =>
      readFunc(
        await management.ask({
          method: 'GET',
          path: `/funcs/call/${encodeURIComponent(callId)}`,
        }),
      ),
    update: async (name, json) =>
      readFunc(await management.ask({ method: 'PUT', path: pathOf(name), json })),
    remove: (name, options) =>
      management.tell({
        method: 'DELETE',
        path: `${pathOf(name)}${options?.force === true ? '?force=1' : ''}`,
      }),
  }
}
