/**
 * The management plane: JSON requests with credentials. An answer outside 200–299 becomes the
 * HyperError it stands for.
 */

import { limits } from '../protocol/limits.ts'
import { refusalOf } from './refusal.ts'
import { parseJson } from './shape.ts'
import { type AccessKeys, signRequest } from './signature.ts'
import type { Answer, Question, Transport } from './transport.ts'

/** A token of ours, or the original's pair of keys; none is answered 401 where one is needed. */
export interface Credentials {
  readonly token?: string
  readonly keys?: AccessKeys
}

interface Order {
  readonly method: Question['method']
  readonly path: string
  readonly json?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** It may take as long as it takes: images are pulled. */
  readonly isLong?: boolean
}

export interface Management {
  /** The answer's JSON, unread by any schema. */
  readonly ask: (order: Order) => Promise<unknown>
  readonly tell: (order: Order) => Promise<void>
  /** The body is the caller's to read. */
  readonly open: (order: Order) => Promise<Answer>
}

const NOTHING = new Uint8Array()

export const createManagement = (transport: Transport, credentials: Credentials): Management => {
  const authorize = (order: Order, body: Uint8Array): Record<string, string> => {
    const { token, keys } = credentials
    if (token !== undefined) return { Authorization: `Bearer ${token}` }
    if (keys === undefined) return {}
    return signRequest({
      keys,
      method: order.method,
      url: new URL(`${transport.endpoint}${order.path}`),
      contentType: order.json === undefined ? '' : 'application/json',
      body,
      now: new Date(),
    })
  }

  const open = async (order: Order): Promise<Answer> => {
    const body = order.json === undefined ? NOTHING : Buffer.from(JSON.stringify(order.json))
    const hasBody = order.json !== undefined || order.method === 'POST'
    const answer = await transport.ask({
      method: order.method,
      path: order.path,
      headers: {
        ...(order.json === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...order.headers,
        ...authorize(order, body),
      },
      ...(hasBody ? { body } : {}),
      ...(order.isLong === true ? {} : { answerMs: limits.clientAnswerMs }),
    })
    if (answer.status >= 200 && answer.status < 300) return answer
    throw refusalOf(answer.status, answer.headers, await transport.readText(answer.body))
  }

  const readAll = async (order: Order): Promise<string> => {
    const { body } = await open(order)
    return transport.readText(body)
  }

  return {
    open,
    ask: async (order) => parseJson(await readAll(order)),
    tell: async (order) => {
      await readAll(order)
    },
  }
}
